package e2e_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestReleaseLeavesTheJobsAlone(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p, gate := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		told := make(chan error, 1)
		r.OnError(func(err error) { told <- err })
		e.awaitStarted(t, gate, 1)
		p.Release()
		p.Release()
		if _, err := r.Get(ctx(t)); !errors.Is(err, results.ErrClosed) {
			t.Errorf("the handle: %v", err)
		}
		if err := receive(t, "OnError", told); !errors.Is(err, results.ErrClosed) {
			t.Errorf("OnError got %v", err)
		}
		if _, err := producer.Apply(ctx(t), p, square, 1); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Apply after Release: %v", err)
		}
		if err := p.Join(ctx(t)); err != nil {
			t.Errorf("Join after Release: %v", err)
		}
		again, err := producer.Attach(ctx(t), e.pool(t), hold, r.ID())
		if err != nil {
			t.Fatal(err)
		}
		e.open(t, gate)
		if _, err := again.Get(ctx(t)); err != nil {
			t.Errorf("the job after its pool was released: %v", err)
		}
	})
}

// subscribers counts the pools that listen.
func subscribers(t *testing.T, e *env) int64 {
	t.Helper()
	pools := map[string]bool{} // a pool has a channel in each lane
	for name := range e.replies(t) {
		pools[name[strings.LastIndex(name, ":")+1:]] = true
	}
	return int64(len(pools))
}

// replies are the reply channels that pools listen to, with the number of subscriptions to each.
func (e *env) replies(t *testing.T) map[string]int64 {
	t.Helper()
	const pattern = "distpool:{*}:reply:*"
	all := map[string]int64{}
	var mu sync.Mutex // guards all
	note := func(channels map[string]int64) {
		mu.Lock()
		defer mu.Unlock()
		for name, n := range channels {
			all[name] += n
		}
	}
	must(t, e.eachServer(t, func(ctx context.Context, c *redis.Client) error {
		names, err := c.PubSubChannels(ctx, pattern).Result()
		note(c.PubSubNumSub(ctx, names...).Val())
		if _, clustered := e.rdb.(*redis.ClusterClient); clustered && err == nil {
			names, err = c.PubSubShardChannels(ctx, pattern).Result()
			note(c.PubSubShardNumSub(ctx, names...).Val())
		}
		return err
	}))
	return all
}

func TestADroppedPoolLeavesNothingBehind(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		gate := e.probe()
		// In a function of its own, so that no variable of this one keeps the pool.
		r := func() *results.AsyncResult[string] {
			p, err := producer.Open(ctx(t), producer.Config{Keyring: suiteKeyring, Redis: e.url, Queue: e.queue})
			if err != nil {
				t.Fatal(err)
			}
			r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}()
		e.awaitStarted(t, gate, 1)
		for range 3 {
			runtime.GC()
		}
		if n := subscribers(t, e); n != 1 || r.Ready() {
			t.Errorf("%d pools listen while a job of the dropped one runs, ready %v; want 1 and false", n, r.Ready())
		}
		e.open(t, gate)
		if v, err := r.Get(ctx(t)); err != nil || v == "" {
			t.Errorf("the handle of a dropped pool: %q, %v", v, err)
		}
		eventually(t, "the dropped pool does not listen any more", func() bool {
			runtime.GC()
			return subscribers(t, e) == 0
		})
	})
}

func TestADroppedPoolLeavesNoGoroutines(t *testing.T) {
	usual(t)
	e := newEnv(t, redistest.Start(t).URL(), false)
	open := func() {
		for range 20 {
			if _, err := producer.Open(ctx(t), producer.Config{Keyring: suiteKeyring, Redis: e.url}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ours := func() int {
		buf := make([]byte, 8<<20)
		return strings.Count(string(buf[:runtime.Stack(buf, true)]), "await.(*Hub).read(")
	}
	before := ours()
	open()
	eventually(t, "the goroutines of dropped pools are gone", func() bool {
		runtime.GC()
		return ours() <= before
	})
}

func TestTerminateWithTenThousandQueuedCalls(t *testing.T) {
	usual(t)
	e := newEnv(t, redistest.Start(t).URL(), false)
	p, err := producer.Open(ctx(t), producer.Config{Keyring: suiteKeyring, Redis: e.url, Queue: e.queue})
	if err != nil {
		t.Fatal(err)
	}
	const n = 10_000
	handles := make(chan *results.AsyncResult[int], n)
	failed := make(chan error, n)
	for range 32 {
		go func() {
			for range n / 32 {
				r, err := producer.ApplyAsync(context.Background(), p, square, 1)
				if err != nil {
					failed <- err
					return
				}
				handles <- r
			}
		}()
	}
	var all []*results.AsyncResult[int]
	for len(all) < n/32*32 {
		select {
		case r := <-handles:
			all = append(all, r)
		case err := <-failed:
			t.Fatal(err)
		}
	}
	begin := time.Now()
	if err := p.Terminate(ctx(t)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("Terminate of %d queued calls took %v", len(all), took)
	limit := time.Second
	if raceEnabled {
		limit *= 5
	}
	if took > limit {
		t.Errorf("Terminate of %d queued calls took %v, want less than %v", len(all), took, limit)
	}
	if i := slices.IndexFunc(all, func(r *results.AsyncResult[int]) bool { return !r.Ready() }); i >= 0 {
		t.Errorf("handle %d is not ready", i)
	}
	if _, err := all[0].Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
		t.Errorf("Get: %v", err)
	}
	// A worker that comes later drops what they left.
	e.worker(t, 4)
	begin = time.Now()
	eventually(t, "the queue is empty", func() bool { return e.queueInfo(t).Size == 0 })
	t.Logf("a worker dropped their deliveries in %v", time.Since(begin))
}
