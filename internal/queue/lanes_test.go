package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
)

// faults lets scripts of a lane fail, or wait.
type faults struct {
	lane   string
	before func() // called first
	after  func() error
}

func (faults) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f faults) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !strings.Contains(strings.ToLower(cmd.Name()), "eval") || !slices.Contains(cmd.Args(), any(f.lane)) {
			return next(ctx, cmd)
		}
		if f.before != nil {
			f.before()
		}
		err := next(ctx, cmd)
		if f.after != nil && err == nil {
			if err = f.after(); err != nil {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

func (faults) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// second is another client of the server of rdb.
func second(t *testing.T, rdb redis.UniversalClient, size int) redis.UniversalClient {
	t.Helper()
	other, err := redisconn.Dedicated(rdb, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return other
}

func TestALaneThatDoesNotAnswerKeepsNoSlotFromOthers(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	slow := second(t, rdb, 20)
	answers := make(chan struct{})
	slow.AddHook(faults{lane: "dead", before: func() { <-answers }})
	w := newWorker(rdb, "w", nil)
	submit(t, rdb, "dead", named("dead", 3)...)
	submit(t, rdb, "q", named("j", 50)...)
	w.start(t, Config{Redis: slow, Worker: "w", Slots: 2, Queues: []Queue{one("dead"), one("q")}})
	eventually(t, "the other lane is served", func() bool { return len(w.names()) == 50 })
	close(answers)
	eventually(t, "the lane is served once it answers", func() bool { return len(w.names()) == 53 })
}

func TestListenersTakeNoConnectionFromOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		small := second(t, rdb, 2)
		queues := []Queue{one("a"), one("b"), one("c"), one("d"), one("e")}
		w := newWorker(small, "w", nil)
		w.start(t, Config{Redis: small, Listen: second(t, small, 100), Worker: "w", Slots: 2, Queues: queues})
		for i, name := range named("j", 20) {
			submit(t, rdb, queues[i%5].Name, name)
			began := time.Now()
			eventually(t, "the call runs", func() bool { return len(w.names()) == i+1 })
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("call %d ran after %v", i, took)
			}
		}
	})
}

func TestAWorkerServesLanesThatAreAdded(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { rdb.Close() })
	var lanes atomic.Pointer[[]string]
	w := newWorker(rdb, "w", nil)
	w.start(t, Config{Redis: rdb, Worker: "w", Slots: 2, Queues: []Queue{one("q")}, Lanes: func(context.Context, string) ([]string, error) {
		if known := lanes.Load(); known != nil {
			return *known, nil
		}
		lanes.Store(&[]string{"q", "q~1"})
		return nil, errors.New("not known yet")
	}})
	submit(t, rdb, "q", "a")
	submit(t, rdb, "q~1", "b")
	eventually(t, "both calls run", func() bool { return len(w.names()) == 2 })
	lanes.Store(&[]string{"q", "q~1", "q~2"})
	submit(t, rdb, "q~2", "c")
	eventually(t, "the call in the new lane runs", func() bool { return len(w.names()) == 3 })
	if got := w.Lanes(); !slices.Equal(got, []string{"q", "q~1", "q~2"}) {
		t.Errorf("it knows %q", got)
	}
}

// TestDeliveriesOfALostAnswerAreFound loses every third answer that has deliveries.
func TestDeliveriesOfALostAnswerAreFound(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		lossy := second(t, rdb, 20)
		n := 0
		lossy.AddHook(faults{lane: "q", after: func() error {
			if n++; n%3 == 2 {
				return errors.New("the answer was lost")
			}
			return nil
		}})
		w := newWorker(rdb, "w", nil)
		submit(t, rdb, "q", named("j", 40)...)
		w.start(t, Config{Redis: lossy, Worker: "w", Slots: 4, Queues: []Queue{one("q")}})
		eventually(t, "all calls have run", func() bool {
			ran := w.names()
			slices.Sort(ran)
			return len(slices.Compact(ran)) == 40
		})
		if n := len(w.names()); n != 40 {
			t.Errorf("40 calls ran %d times", n)
		}
		eventually(t, "nothing is active", func() bool { return rdb.Exists(t.Context(), asynqfmt.ActiveKey("q")).Val() == 0 })
	})
}

func TestAWorkerThatYieldsLetsOthersGoFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		w := serve(t, rdb, "w", 2, false, nil, one("q"))
		submit(t, rdb, "q", "first")
		eventually(t, "the first call runs", func() bool { return len(w.names()) == 1 })
		const rest = 500 * time.Millisecond
		began := time.Now()
		w.Yield("q", rest)
		submit(t, rdb, "q", "second")
		eventually(t, "the next call runs", func() bool { return len(w.names()) == 2 })
		if took := time.Since(began); took < rest {
			t.Errorf("it ran after %v, in the rest of %v", took, rest)
		}
	})
}
