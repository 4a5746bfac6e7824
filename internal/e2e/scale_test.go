package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/goleak"

	"github.com/distpool/distpool/internal/recent"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// These have the process to themselves: neither goroutines nor keys of other
// cases may come in between.

func TestTwoHundredGoroutinesShareAPool(t *testing.T) {
	usual(t)
	const goroutines, maps, calls = 200, 3, 40
	e := newEnv(t, redistest.Start(t).URL(), true)
	e.worker(t, 4)
	before := goleak.IgnoreCurrent()
	p, err := producer.Open(ctx(t), producer.Config{Keyring: suiteKeyring, Redis: e.url, Queue: e.queue})
	if err != nil {
		t.Fatal(err)
	}
	limit := ctx(t)
	var all sync.WaitGroup
	wrong := make(chan error, goroutines)
	for g := range goroutines {
		all.Go(func() {
			for m := range maps {
				args, want := make([]int, calls), make([]int, calls)
				for i := range args {
					args[i] = (g*maps+m)*calls + i
					want[i] = args[i] * args[i]
				}
				if got, err := producer.Map(limit, p, square, args, producer.ChunkSize(8)); err != nil || !slices.Equal(got, want) {
					wrong <- fmt.Errorf("goroutine %d, map %d: %v, %w", g, m, got, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(wrong)
	for err := range wrong {
		t.Error(err)
	}
	p.Close()
	if err := p.Join(ctx(t)); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func TestTenThousandJobsLeaveNothing(t *testing.T) {
	usual(t)
	const jobs, at = 10_000, 32
	e := newEnv(t, redistest.Start(t).URL(), true)
	e.worker(t, 4)
	e.worker(t, 4)
	open := func() *producer.Pool {
		p, err := producer.Open(ctx(t), producer.Config{Keyring: suiteKeyring, Redis: e.url, Queue: e.queue})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	join := func(p *producer.Pool) {
		p.Close()
		if err := p.Join(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	// One job of each kind first, so that asynq has made the keys that it keeps for
	// ever: the names of its queues and the day's counters.
	p, limit := open(), ctx(t)
	for i := range kinds {
		if err := one(limit, p, i); err != nil {
			t.Fatal(err)
		}
	}
	join(p)
	channels := func() []string {
		c := e.rdb.PubSubChannels(ctx(t), "*").Val()
		slices.Sort(c)
		return c
	}
	// asynq's and the workers' keys come and go with what the workers do.
	presence := func(k string) bool {
		return strings.HasPrefix(k, "distpool:@{workers}") || recent.IsListKey(k) || strings.HasPrefix(k, "asynq:workers") || strings.HasPrefix(k, "asynq:servers")
	}
	size := func() int64 {
		here := slices.DeleteFunc(e.keys(t, "*"), func(k string) bool { return !presence(k) })
		return e.rdb.DBSize(ctx(t)).Val() - int64(len(here))
	}
	// settled reports whether nothing but asynq's queue is left. Failed calls leave
	// their deliveries in asynq's archive, for operators, who clear it as it is done
	// here; a bell's rings go after 10 s.
	settled := func() bool {
		for _, lane := range e.lanes(t) {
			if _, err := e.inspector().DeleteAllArchivedTasks(lane); err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
				t.Fatal(err)
			}
		}
		return e.queueInfo(t).Size == 0 && !slices.ContainsFunc(e.keys(t, "*"), func(k string) bool {
			return !strings.HasPrefix(k, "asynq:") && !presence(k)
		})
	}
	eventually(t, "the first jobs are gone", settled)
	before, listening := size(), channels()

	p = open()
	begin := time.Now()
	var all sync.WaitGroup
	failed := make(chan error, at)
	for g := range at {
		all.Go(func() {
			for i := g; i < jobs; i += at {
				if err := one(limit, p, i); err != nil {
					failed <- fmt.Errorf("job %d: %w", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	t.Logf("%d jobs in %v", jobs, time.Since(begin).Round(time.Millisecond))
	join(p)
	eventually(t, "the jobs are gone", settled)
	eventually(t, "DBSIZE is back where it was", func() bool { return size() == before })
	if after := channels(); !slices.Equal(after, listening) {
		t.Errorf("channels were %q and are %q", listening, after)
	}
}

// kinds is how many kinds of jobs one makes.
const kinds = 7

// one runs job number i to its end and removes it, or lets it expire.
func one(limit context.Context, p *producer.Pool, i int) error {
	type handle interface{ ID() string }
	gone := func(h handle, forget error, err error) error {
		if err = errors.Join(err, forget); err != nil {
			return fmt.Errorf("job %s: %w", h.ID(), err)
		}
		return nil
	}
	switch i % kinds {
	case 0: // fetched and forgotten
		r, err := producer.ApplyAsync(limit, p, square, i)
		if err != nil {
			return err
		}
		if v, err := r.Get(limit); err != nil || v != i*i {
			return fmt.Errorf("apply: %d, %w", v, err)
		}
		return gone(r, r.Forget(limit), nil)
	case 1: // the same, of several chunks
		m, err := producer.MapAsync(limit, p, square, numbers(10), producer.ChunkSize(4))
		if err != nil {
			return err
		}
		v, err := m.Get(limit)
		if len(v) != 10 {
			return fmt.Errorf("map: %v, %w", v, err)
		}
		return gone(m, m.Forget(limit), err)
	case 2: // fetched, and expires
		_, err := producer.Map(limit, p, square, numbers(6), producer.ChunkSize(2), producer.ResultTTL(time.Second))
		return err
	case 3: // a stream, which forgets itself
		n := 0
		for _, err := range producer.IMap(limit, p, square, slices.Values(numbers(8))) {
			if err != nil {
				return err
			}
			if n++; n == 5 && i%2 == 0 {
				break
			}
		}
		return nil
	case 4: // fails
		r, err := producer.ApplyAsync(limit, p, act, actError)
		if err != nil {
			return err
		}
		if _, err := r.Get(limit); err == nil {
			return errors.New("a failing call did not fail")
		}
		return gone(r, r.Forget(limit), nil)
	case 5: // is canceled, and expires
		m, err := producer.MapAsync(limit, p, sleep, slices.Repeat([]int{60_000}, 3), producer.ChunkSize(1), producer.ResultTTL(time.Second))
		if err != nil {
			return err
		}
		if err := m.Cancel(limit); err != nil {
			return err
		}
		if _, err := m.Get(limit); !errors.Is(err, results.ErrCanceled) {
			return fmt.Errorf("canceled: %w", err)
		}
		return nil
	default: // is forgotten while it runs or waits
		r, err := producer.ApplyAsync(limit, p, sleep, 60_000)
		if err != nil {
			return err
		}
		return gone(r, r.Forget(limit), nil)
	}
}
