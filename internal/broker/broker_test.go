package broker

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/internal/wire"
)

// onBoth runs f on miniredis and on a real redis-server, with the scripts loaded.
func onBoth(t *testing.T, f func(t *testing.T, rdb *redis.Client, b *Broker)) {
	t.Helper()
	for name, start := range map[string]func(t *testing.T) string{
		"miniredis": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
		"redis":     func(t *testing.T) string { return redistest.Start(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			rdb := redis.NewClient(&redis.Options{Addr: start(t)})
			t.Cleanup(func() { rdb.Close() })
			if err := record.Load(t.Context(), rdb); err != nil {
				t.Fatal(err)
			}
			f(t, rdb, New(rdb))
		})
	}
}

// job makes the creation of a job, and its deliveries.
func job(id string, chunks int) (record.Op, []wire.Delivery) {
	var cs []record.Chunk
	var ds []wire.Delivery
	for i := range chunks {
		cs = append(cs, record.Chunk{Number: i, Args: wire.EncodeArgs(i, 1, []byte("[1]"))})
		ds = append(ds, wire.Delivery{Job: id, Chunk: i, Number: 1})
	}
	return record.Create(record.Job{
		ID: id, Task: "square", Codec: "json", Calls: chunks, Chunks: chunks, Sealed: true,
		OpenTTL: time.Hour, ResultTTL: time.Hour,
	}, cs), ds
}

func submit(t *testing.T, b *Broker, id string, chunks, want int) {
	t.Helper()
	op, ds := job(id, chunks)
	reply, err := b.Submit(t.Context(), op, "q", "square", ds)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := reply.Int(); err != nil || n != want {
		t.Fatalf("create answers %d, %v; want %d", n, err, want)
	}
}

// wantPending checks what operators see of the queue.
func wantPending(t *testing.T, rdb *redis.Client, want ...string) {
	t.Helper()
	ts, err := asynq.NewInspectorFromRedisClient(rdb).ListPendingTasks("q", asynq.PageSize(1000))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, task := range ts {
		d, err := wire.ParseDelivery(task.Payload)
		if err != nil || task.ID != d.TaskID() || task.Type != "square" || task.Queue != "q" || task.MaxRetry != maxRetry {
			t.Errorf("pending is %+v, %v", task, err)
		}
		seen[task.ID] = true
	}
	if len(ts) != len(want) {
		t.Errorf("%d deliveries are pending, want %d", len(ts), len(want))
	}
	for _, id := range want {
		if !seen[id] {
			t.Errorf("delivery %s is not pending", id)
		}
	}
}

func rings(rdb *redis.Client) int64 {
	return rdb.LLen(context.Background(), record.BellKey("q")).Val()
}

// trips notes each round trip: the first key of each of its commands.
type trips struct {
	mu  sync.Mutex
	all [][]string
}

func firstKey(cmd redis.Cmder) string {
	if args := cmd.Args(); len(args) > 3 && args[0] == "evalsha" {
		return fmt.Sprint(args[3])
	}
	return cmd.Name()
}

func (*trips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (tr *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		tr.note([]redis.Cmder{cmd})
		return next(ctx, cmd)
	}
}

func (tr *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		tr.note(cmds)
		return next(ctx, cmds)
	}
}

func (tr *trips) note(cmds []redis.Cmder) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var keys []string
	for _, c := range cmds {
		keys = append(keys, firstKey(c))
	}
	tr.all = append(tr.all, keys)
}

func TestSubmissionIsOneRoundTripRecordThenDeliveriesThenBell(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		// Makes the connection and loads asynq's script.
		submit(t, b, "q/first", 2, 1)
		rdb.Del(t.Context(), record.BellKey("q"))
		tr := &trips{}
		rdb.AddHook(tr)
		const n = 100
		submit(t, b, "q/j", n, 1)
		if len(tr.all) != 1 || len(tr.all[0]) != n+3 {
			t.Fatalf("the round trips are %q, want one of %d commands", tr.all, n+3)
		}
		keys := tr.all[0]
		if keys[0] != record.Keys("q/j")[0] || keys[n+2] != record.BellKey("q") {
			t.Errorf("the first command is about %s, the last about %s; want the record and the bell", keys[0], keys[n+2])
		}
		for i, key := range keys[2 : n+2] {
			if want := fmt.Sprintf("asynq:{q}:t:j:%d:1", i); key != want {
				t.Errorf("command %d is about %s, want %s", i+2, key, want)
			}
		}
		if got := rings(rdb); got != n {
			t.Errorf("the bell has %d rings, want %d", got, n)
		}
	})
}

func TestSubmissionSentAgainIsASuccessAndDeliversOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		submit(t, b, "q/j", 2, 1)
		submit(t, b, "q/j", 2, 0)
		wantPending(t, rdb, "j:0:1", "j:1:1")
		if err := b.Enqueue(t.Context(), "q", "square", []wire.Delivery{{Job: "q/j", Chunk: 1, Number: 1}}); err != nil {
			t.Errorf("enqueueing what is enqueued: %v", err)
		}
		if err := b.Enqueue(t.Context(), "q", "square", []wire.Delivery{{Job: "q/j", Chunk: 1, Number: 2}}); err != nil {
			t.Error(err)
		}
		wantPending(t, rdb, "j:0:1", "j:1:1", "j:1:2")
	})
}

func TestSubmissionWorksAfterTheServerLostItsScripts(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		submit(t, b, "q/a", 1, 1)
		rdb.Del(t.Context(), record.BellKey("q"))
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		submit(t, b, "q/b", 2, 1)
		wantPending(t, rdb, "a:0:1", "b:0:1", "b:1:1")
		if got := rings(rdb); got != 2 {
			t.Errorf("the bell has %d rings, want 2", got)
		}
		// Only asynq's script is unknown: the bell must come after the deliveries.
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := record.Load(t.Context(), rdb); err != nil {
			t.Fatal(err)
		}
		rdb.Del(t.Context(), record.BellKey("q"))
		submit(t, b, "q/c", 2, 1)
		wantPending(t, rdb, "a:0:1", "b:0:1", "b:1:1", "c:0:1", "c:1:1")
		if got := rings(rdb); got < 3 {
			t.Errorf("the bell has %d rings; want it rung again after the deliveries", got)
		}
	})
}

func TestOperatorsSeeTheQueueOfARedisThatCameBackEmpty(t *testing.T) {
	delivery := []wire.Delivery{{Job: "q/j", Chunk: 0, Number: 1}}
	for name, send := range map[string]func(ctx context.Context, b *Broker) error{
		"a call": func(ctx context.Context, b *Broker) error {
			op, ds := job("q/j", 1)
			_, err := b.Submit(ctx, op, "q", "square", ds)
			return err
		},
		"a map": func(ctx context.Context, b *Broker) error {
			op, ds := job("q/j", 2)
			_, err := b.Submit(ctx, op, "q", "square", ds)
			return err
		},
		"a chunk issued again": func(ctx context.Context, b *Broker) error { return b.Enqueue(ctx, "q", "square", delivery) },
		"a delay": func(ctx context.Context, b *Broker) error {
			if err := b.EnqueueAt(ctx, "q", "square", delivery, time.Now().Add(time.Hour)); err != nil {
				return err
			}
			return b.Start(ctx, "q", delivery)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
				for range 2 { // the second time it is not new to the client
					if err := rdb.FlushAll(t.Context()).Err(); err != nil {
						t.Fatal(err)
					}
					if err := send(t.Context(), b); err != nil {
						t.Fatal(err)
					}
					info, err := asynq.NewInspectorFromRedisClient(rdb).GetQueueInfo("q")
					if err != nil || info.Pending == 0 {
						t.Fatalf("asynq's inspector says %+v, %v; want deliveries that wait", info, err)
					}
				}
				if err := b.Withdraw(t.Context(), "q", []Unwanted{{Job: record.Ref{ID: "q/j"}, Chunks: []int{0}}}); err != nil {
					t.Error(err)
				}
				if n := rdb.Exists(t.Context(), "asynq:{q}:t:j:0:1").Val(); n != 0 {
					t.Error("a delivery that was withdrawn is still there")
				}
			})
		})
	}
}

func TestEmptyJobRingsNoBell(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		submit(t, b, "q/j", 0, 1)
		if n := rdb.Exists(t.Context(), record.BellKey("q")).Val(); n != 0 {
			t.Error("the bell was rung for nothing")
		}
	})
}

func TestFailureOfARecordIsTheSubmissionsError(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		rdb.Set(t.Context(), record.Keys("q/j")[0], "not a hash", 0)
		_, ds := job("q/j", 2)
		op := record.Add(record.Ref{ID: "q/j"}, 2, 2, true, nil)
		if _, err := b.Submit(t.Context(), op, "q", "square", ds); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("error is %v, want Redis's", err)
		}
	})
}

// Large arguments are stored by commands of their own. The script that finds none of
// them does not know why, and operators look for Redis's word for it.
func TestARedisWithoutRoomForLargeArgumentsIsTheSubmissionsError(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t).Addr()})
	defer rdb.Close()
	if err := record.Load(t.Context(), rdb); err != nil {
		t.Fatal(err)
	}
	b := New(rdb)
	submit(t, b, "q/first", 2, 1) // loads asynq's script
	large := func(n int) []record.Chunk {
		cs := make([]record.Chunk, n)
		for i := range cs {
			cs[i] = record.Chunk{Number: i, Args: wire.EncodeArgs(i, 1, make([]byte, record.LargeFrame)), Apart: true}
		}
		return cs
	}
	create := func(id string, n int) record.Op {
		return record.Create(record.Job{ID: id, Task: "square", Codec: "json", Calls: n, Chunks: n, Sealed: true, OpenTTL: time.Hour, ResultTTL: time.Hour}, large(n))
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2} {
		id := fmt.Sprint("q/large", n)
		_, ds := job(id, n)
		if _, err := b.Submit(t.Context(), create(id, n), "q", "square", ds); err == nil || !strings.Contains(err.Error(), "OOM command not allowed") {
			t.Errorf("the error of a job of %d chunks is %v, want Redis's", n, err)
		}
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	wantPending(t, rdb, "first:0:1", "first:1:1")
	_, ds := job("q/large2", 2)
	if reply, err := b.Submit(t.Context(), create("q/large2", 2), "q", "square", ds); err != nil || reply.Val() != int64(1) {
		t.Errorf("once there is room it answers %v, %v; want 1", reply, err)
	}
}
