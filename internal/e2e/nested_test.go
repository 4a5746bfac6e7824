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

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// nesting is what nest is told.
type nesting struct {
	URL    string
	Queues []string // one for each level below
	Width  int      // calls of each map
	How    string   // how the first level waits: one of the how constants for nest

	// Together, if it is not 0, is how many calls of the first level must have
	// begun, by Key, before one goes on: each then holds a slot.
	Together int64
	Key      string
}

const (
	howMap  = "map"
	howGet  = "get"
	howAll  = "all"
	howIMap = "imap"
)

// nested is nest as its calls submit it.
var nested = tasks.Declare[nesting, int]("nest")

// runNest counts the calls of the lowest level.
func runNest(ctx context.Context, n nesting) (int, error) {
	if len(n.Queues) == 0 {
		return 1, nil
	}
	p, err := producer.Open(ctx, producer.Config{Keyring: suiteKeyring, Redis: n.URL, Queue: n.Queues[0]})
	if err != nil {
		return 0, err
	}
	defer p.Release()
	if err := n.gather(ctx); err != nil {
		return 0, err
	}
	args := slices.Repeat([]nesting{{URL: n.URL, Queues: n.Queues[1:], Width: n.Width, How: howMap}}, n.Width)
	counts, err := n.wait(ctx, p, args)
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, c := range counts {
		sum += c
	}
	return sum, nil
}

// gather waits until as many calls as want to begin together have begun.
func (n nesting) gather(ctx context.Context) error {
	if n.Together == 0 {
		return nil
	}
	c := client(n.URL)
	begun, err := c.Incr(ctx, n.Key).Result()
	for err == nil && begun < n.Together {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		begun, err = c.Get(ctx, n.Key).Int64()
	}
	return err
}

func (n nesting) wait(ctx context.Context, p *producer.Pool, args []nesting) (counts []int, err error) {
	seq := producer.IMap(ctx, p, nested, slices.Values(args))
	switch n.How {
	case howMap:
		return producer.Map(ctx, p, nested, args, producer.ChunkSize(1))
	case howGet, howAll:
		m, err := producer.MapAsync(ctx, p, nested, args, producer.ChunkSize(1))
		if err != nil {
			return nil, err
		}
		defer func() { _ = m.Forget(context.WithoutCancel(ctx)) }()
		if n.How == howGet {
			return m.Get(ctx)
		}
		seq = m.All(ctx)
	case howIMap:
	default:
		return nil, fmt.Errorf("nest: How is %q", n.How)
	}
	for c, err := range seq {
		if err != nil {
			return nil, err
		}
		counts = append(counts, c)
	}
	return counts, nil
}

func TestNestedMapsWorkWithASlotToSpare(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 3)
		p := e.pool(t)
		for _, how := range []string{howMap, howGet, howAll, howIMap} {
			outer := nesting{URL: e.url, Queues: []string{e.queue}, Width: 5, How: how}
			got, err := producer.Map(ctx(t), p, nest, []nesting{outer, outer}, producer.ChunkSize(1))
			if want := []int{5, 5}; err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: nested maps return %v, %v; want %v", how, got, err, want)
			}
		}
	})
}

func TestNestedMapsOnQueuesOfTheirOwnNeedOneSlotEach(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		levels := []string{e.queue + "-1", e.queue + "-2", e.queue + "-3"}
		for _, q := range levels {
			e.launch(t, 1, func(s *workerSpec) { s.Queue = q })
		}
		got, err := producer.Apply(ctx(t), e.pool(t), nest, nesting{URL: e.url, Queues: levels, Width: 2, How: howMap})
		if err != nil || got != 8 {
			t.Errorf("three levels of two calls return %d, %v; want 8", got, err)
		}
	})
}

// Each way to wait for a nested job is told that there is no slot, and the worker goes on.
func TestANestedWaitWithoutASlotSaysSo(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		var all sync.WaitGroup
		var envs []*env
		for _, how := range []string{howMap, howGet, howAll, howIMap} {
			one := e.aside(t)
			one.worker(t, 1)
			p := one.pool(t)
			envs = append(envs, one)
			all.Go(func() {
				began := time.Now()
				_, err := producer.Apply(ctx(t), p, nest, nesting{URL: e.url, Queues: []string{one.queue}, Width: 3, How: how})
				took := time.Since(began)
				t.Logf("%s: the error came after %v", how, took)
				if !errors.Is(err, results.ErrNoSlot) {
					t.Errorf("%s: the error is %v; want results.ErrNoSlot", how, err)
				}
				mentions(t, err, one.queue, "all 1 slots", "1 workers", "add slots", "producer.Queue")
				if took < 5*time.Second || took > time.Minute {
					t.Errorf("%s: the error came after %v; want about 5 to 10 seconds", how, took)
				}
				if got, err := producer.Map(ctx(t), p, square, numbers(3)); err != nil || !slices.Equal(got, []int{0, 1, 4}) {
					t.Errorf("%s: afterwards the worker returns %v, %v", how, got, err)
				}
			})
		}
		all.Wait()
		for _, one := range envs {
			eventually(t, "the worker's log mentions it", func() bool { return strings.Contains(one.log.String(), "cannot get a slot") })
		}
	})
}

// Every slot is held by a call that waits, each in another way. The slot of the one that
// fails is all that the others need, on one worker and on several.
func TestADeadlockCostsOneCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		var all sync.WaitGroup
		defer all.Wait()
		for workers, slots := range map[int]int{1: 4, 2: 2} {
			one := e.aside(t)
			for range workers {
				one.worker(t, slots)
			}
			p, gate := one.pool(t), one.probe()
			all.Go(func() {
				var args []nesting
				for _, how := range []string{howMap, howGet, howAll, howIMap} {
					args = append(args, nesting{URL: e.url, Queues: []string{one.queue}, Width: 3, How: how, Together: 4, Key: gate.Key})
				}
				_, err := producer.Map(ctx(t), p, nest, args, producer.ChunkSize(1))
				failed, ok := errors.AsType[*results.MapError](err)
				if !ok || len(failed.Errors) != 1 || !errors.Is(err, results.ErrNoSlot) {
					t.Errorf("%d workers: the error is %v; want that one of 4 calls fails with results.ErrNoSlot", workers, err)
				}
			})
		}
	})
}

// Two levels down there is no slot. The call there fails with it, and its callers
// by that.
func TestTheLowestLevelFailsWhenThereIsNoSlot(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		_, err := producer.Apply(ctx(t), e.pool(t), nest, nesting{URL: e.url, Queues: []string{e.queue, e.queue}, Width: 1, How: howMap})
		if !errors.Is(err, results.ErrNoSlot) {
			t.Errorf("the error is %v; want results.ErrNoSlot", err)
		}
		mentions(t, err, "1 of 1 calls failed", "all 2 slots")
	})
}

func TestANestedWaitOutlastsSlotsThatAreBusy(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p, gate := e.pool(t), e.probe()
		held, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		outer, err := producer.ApplyAsync(ctx(t), p, nest, nesting{URL: e.url, Queues: []string{e.queue}, Width: 2, How: howMap})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the worker reports the wait", func() bool {
			ws := e.workers(t)
			return len(ws) == 1 && len(ws[0].Held) == 1
		})
		// Longer than a deadlock takes to be noticed.
		select {
		case <-outer.Done():
			_, err := outer.Get(ctx(t))
			t.Fatalf("the call ended with %v while the other slot was busy", err)
		case <-time.After(9 * time.Second):
		}
		e.open(t, gate)
		if n, err := outer.Get(ctx(t)); err != nil || n != 2 {
			t.Errorf("the call returns %d, %v; want 2", n, err)
		}
		if _, err := held.Get(ctx(t)); err != nil {
			t.Error(err)
		}
	})
}
