package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// unknownReplies are errors that a Redis may answer with, or what stands in front of it.
var unknownReplies = []string{
	"ERR max requests limit exceeded", "ERR", "", "X", "QUOTA exceeded for this plan", "ERR operation not permitted", "UNAVAILABLE try again later",
	"PROXYERR backend is down", "ERR internal error", "ERR unknown command", "ERR Failed attempt to connect to the backend", "THROTTLED 1000",
	"ERR Script attempted to access a non local key in a cluster node", "NOGOODSLAVE x", "ERR DISABLED You can't write or read against a disabled instance",
	"ERR Failed attempt to perform operation", "ERR attempt to call the backend failed", "ERR proxy: bad argument #1", "ERR cannot perform the request now",
	"ERR value is not an integer", "ERR increment or decrement would overflow the quota", "ERR backend: WRONGTYPE of message",
	"DAMAGED backend", "WRONGTYPE of message",
}

// Whatever Redis answers to all that a worker and a pool ask, while calls wait, run and end:
// accepted jobs are neither canceled nor run again, and submissions fail with that error.
func TestErrorRepliesOfAnyTextCostOnlyTime(t *testing.T) {
	usual(t)
	for _, text := range unknownReplies {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			srv := miniredis.RunT(t)
			e := newEnv(t, "redis://"+srv.Addr(), false)
			var runs, refused atomic.Int64
			gate := make(chan struct{})
			held := tasks.Define("held", func(_ context.Context, n int) (int, error) {
				runs.Add(1)
				<-gate
				return n, nil
			})
			e.version(t, "w", e.queue, held)
			p := e.pool(t)
			m, err := producer.MapAsync(ctx(t), p, held, numbers(6), producer.ChunkSize(1))
			must(t, err)
			r, err := producer.ApplyAsync(ctx(t), p, held, 7, producer.ID("id"))
			must(t, err)
			eventually(t, "calls run", func() bool { return runs.Load() == 2 })
			srv.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
				switch cmd {
				case "HELLO", "PING", "CLIENT", "SUBSCRIBE", "AUTH", "INFO":
					return false
				}
				refused.Add(1)
				c.WriteError(text)
				return true
			})
			close(gate)
			began := time.Now()
			if _, err := producer.ApplyAsync(ctx(t), p, held, 1); err == nil {
				t.Error("a submission was accepted by a Redis that refuses all")
			} else if took := time.Since(began); took > 15*time.Second || !strings.Contains(err.Error(), text) {
				t.Errorf("after %v a submission failed with %v", took, err)
			}
			before := refused.Load()
			eventually(t, "much was refused", func() bool { return refused.Load() > before+20 })
			srv.Server().SetPreHook(nil)
			vs, err := m.Get(ctx(t))
			same(t, "the map", vs, err, numbers(6))
			v, err := r.Get(ctx(t))
			same(t, "the call", v, err, 7)
			if n := runs.Load(); n != 7 {
				t.Errorf("7 calls ran %d times", n)
			}
		})
	}
}

// A password is set while a worker runs: its new connections are refused.
func TestAPasswordThatChangesCostsOnlyTime(t *testing.T) {
	usual(t)
	t.Parallel()
	srv := redistest.Start(t)
	e := newEnv(t, srv.URL(), false)
	var runs atomic.Int64
	gate := make(chan struct{})
	held := tasks.Define("held", func(_ context.Context, n int) (int, error) {
		runs.Add(1)
		<-gate
		return n, nil
	})
	running, cancel := context.WithCancel(context.Background())
	ended, log := make(chan error, 1), &logBuffer{}
	go func() {
		ended <- worker.Run(running, worker.Config{
			Redis: e.url, Concurrency: 16, Queues: map[string]int{e.queue: 1}, Keyring: suiteKeyring, Logger: slog.New(slog.NewTextHandler(log, nil)),
		}, held)
	}()
	p := e.pool(t)
	var rs []*results.AsyncResult[int]
	for i := range 100 {
		r, err := producer.ApplyAsync(ctx(t), p, held, i)
		must(t, err)
		rs = append(rs, r)
	}
	eventually(t, "all slots work", func() bool { return runs.Load() >= 16 })
	admin := redis.NewClient(&redis.Options{Addr: srv.Addr(), MaxRetries: -1, PoolSize: 1})
	defer admin.Close()
	must(t, admin.Ping(ctx(t)).Err())
	must(t, admin.ConfigSet(ctx(t), "requirepass", "secret").Err())
	must(t, admin.Do(ctx(t), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	must(t, admin.Do(ctx(t), "CLIENT", "KILL", "TYPE", "pubsub").Err())
	close(gate)
	eventually(t, "the worker says that Redis does not answer", func() bool { return strings.Contains(log.String(), "will keep trying") })
	must(t, admin.ConfigSet(ctx(t), "requirepass", "").Err())
	for i, r := range rs {
		v, err := r.Get(ctx(t))
		same(t, "a call", v, err, i)
	}
	if n := runs.Load(); n != 100 {
		t.Errorf("100 calls ran %d times", n)
	}
	cancel()
	must(t, receive(t, "the worker's end", ended))
}

// flusher is a hook that has the server lose its scripts before each request that needs
// one: as SCRIPT FLUSH would, at the worst moment each time.
type flusher struct{ flush func(context.Context) error }

func (f flusher) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f flusher) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := f.before(ctx, cmd); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (f flusher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := f.before(ctx, cmds...); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

func (f flusher) before(ctx context.Context, cmds ...redis.Cmder) error {
	if slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Name() == "evalsha" }) {
		return f.flush(ctx)
	}
	return nil
}

// flushed is a client of the case's Redis that meets no script in it, ever.
func (e *env) flushed(t *testing.T) redis.UniversalClient {
	t.Helper()
	c, err := redisconn.Open(ctx(t), e.url)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	c.AddHook(flusher{func(ctx context.Context) error { return e.rdb.ScriptFlush(ctx).Err() }})
	return c
}

func TestScriptsThatAreFlushedAllTheTimeRefuseNothing(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		c := e.flushed(t)
		p := e.pool(t, func(cfg *producer.Config) { cfg.Client, cfg.Redis = c, "" })
		must(t, func() error {
			_, err := producer.ApplyAsync(ctx(t), p, square, 1, producer.Delay(time.Hour))
			return err
		}())
		never, err := producer.MapAsync(ctx(t), p, square, numbers(100), producer.ChunkSize(1), producer.Delay(time.Hour))
		must(t, err)
		late, err := producer.MapAsync(ctx(t), p, square, numbers(100), producer.ChunkSize(1), producer.ExpiresIn(time.Millisecond))
		must(t, err)
		_, err = late.Get(ctx(t))
		mentions(t, err, "nothing of it was started in time")
		must(t, never.Cancel(ctx(t)))
		must(t, never.Forget(ctx(t)))
		running, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			ended <- worker.Run(running, worker.Config{
				Client: e.flushed(t), Concurrency: 4, Queues: map[string]int{e.queue: 1}, Keyring: suiteKeyring, Logger: slog.New(slog.NewTextHandler(e.log, nil)),
			}, square, size)
		}()
		n, err := producer.Apply(ctx(t), p, square, 7)
		same(t, "a call", n, err, 49)
		vs, err := producer.Map(ctx(t), p, square, numbers(600), producer.ChunkSize(1)) // two round trips
		same(t, "a map", fmt.Sprint(vs), err, fmt.Sprint(squares(600)))
		vs, err = producer.Map(ctx(t), p, square, numbers(30), producer.ChunkSize(1), producer.ID("id"))
		same(t, "a map of a chosen ID", fmt.Sprint(vs), err, fmt.Sprint(squares(30)))
		vs, err = producer.Map(ctx(t), p, square, numbers(30), producer.ChunkSize(1), producer.Delay(time.Second))
		same(t, "a delayed map", fmt.Sprint(vs), err, fmt.Sprint(squares(30)))
		vs, err = producer.Map(ctx(t), p, size, severalTrips(), producer.ChunkSize(1))
		same(t, "a map of large arguments", fmt.Sprint(vs), err, fmt.Sprint(slices.Repeat([]int{1 << 20}, 5)))
		i := 0
		for v, err := range producer.IMap(ctx(t), p, square, slices.Values(numbers(200))) {
			same(t, "a value of a stream", v, err, i*i)
			i++
		}
		cancel()
		must(t, receive(t, "the worker's end", ended))
	})
}
