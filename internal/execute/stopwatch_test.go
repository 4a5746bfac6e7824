package execute

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

func TestShortCallsShareALookAtTheClock(t *testing.T) {
	const n = 100_000
	task := tasks.Define("one", func(context.Context, int) (int, error) { return 1, nil })
	e := executor(task)
	r := e.New(chunkOf(t, task, numbers(n)...), &host{})
	ends(t, Finished, r)
	r.next = 0 // once more: only the calls take time now
	e.calls.Store(0)
	e.busy.Store(0)
	began := time.Now()
	if end := r.runCalls().End; end != Finished {
		t.Fatalf("the calls ended with %v", end)
	}
	all := time.Since(began)
	if got := e.calls.Load(); got != n {
		t.Errorf("%d calls are counted, want %d", got, n)
	}
	if busy := time.Duration(e.busy.Load()); busy > all || busy < all/2 {
		t.Errorf("the calls took %v, and %v are counted", all, busy)
	}
}

// One call among many short ones waits: it is the slowest, and is named. A machine that
// stands still at another call for longer is right to name that one, so it gets some tries.
func TestASlowCallAmongShortOnesIsNamed(t *testing.T) {
	const n, slow, nap, tries = 20_000, 12_345, 60 * time.Millisecond, 10
	task := tasks.Define("naps", func(_ context.Context, i int) (int, error) {
		if i == slow {
			time.Sleep(nap)
		}
		return 1, nil
	})
	for range tries {
		r := executor(task).New(chunkOf(t, task, numbers(n)...), &host{})
		ends(t, Finished, r)
		call, took := r.Slowest()
		if took < nap {
			t.Fatalf("the slowest call is %d, of %v; want %v or more", call, took, nap)
		}
		if call == 1000+slow {
			return
		}
		t.Logf("the slowest call is %d, of %v; want call %d", call, took, 1000+slow)
	}
	t.Errorf("the slowest call was not named in %d runs", tries)
}

func TestAnExactExecutorCountsEachCall(t *testing.T) {
	task := tasks.Define("one", func(context.Context, int) (int, error) { return 1, nil })
	e := executor(task)
	e.Exact, e.drainAfter = true, 777
	r := e.New(chunkOf(t, task, numbers(1000)...), &host{})
	ends(t, Interrupted, r)
	if p, _ := r.Partial(time.Time{}); p.Next != 777 || e.calls.Load() != 777 {
		t.Errorf("%d calls ran, %d are counted; want 777", p.Next, e.calls.Load())
	}
}

// A task may keep its context, and look at it when others have long run.
func TestAContextThatATaskKeepsStaysThatOfItsCall(t *testing.T) {
	var kept []context.Context
	task := tasks.Define("keeps", func(ctx context.Context, _ int) (int, error) {
		kept = append(kept, ctx)
		return 1, nil
	})
	ends(t, Finished, executor(task).New(chunkOf(t, task, numbers(100)...), &host{}))
	for i, ctx := range kept {
		want := tasks.CallInfo{Task: "keeps", Job: "q/j", Call: 1000 + i, Calls: 1 << 20, Chunk: 3, Attempt: 1, Delivery: 1, Worker: "w", Queue: "q"}
		if info := tasks.Info(ctx); info != want {
			t.Errorf("the context of call %d says %+v, want %+v", 1000+i, info, want)
		}
	}
}

func TestACallFarIntoAStreamKnowsItsIndex(t *testing.T) {
	task := tasks.Define("far", func(ctx context.Context, _ int) (int, error) { return tasks.Info(ctx).Call, nil })
	const first = 1 << 40
	c := chunkOf(t, task, 1, 2)
	c.Total, c.Args = first+2, wire.EncodeArgs(first, 2, []byte("[1,2]"))
	r := executor(task).New(c, &host{})
	ends(t, Finished, r)
	o, err := wire.ParseOutcome(r.Outcome().Encode())
	if got := values(t, o); err != nil || o.First != first || !slices.Equal(got, []int{first, first + 1}) {
		t.Errorf("the outcomes from call %d on are the indexes %v, %v", o.First, got, err)
	}
}
