package execute

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

func TestAFailureCostsOnlyItsCall(t *testing.T) {
	task := tasks.Define("fails", func(_ context.Context, n int) (int, error) {
		switch n {
		case 1:
			return 0, errors.New("no")
		case 2:
			panic("no")
		case 3:
			runtime.Goexit()
		}
		return 10 * n, nil
	})
	e := executor(task)
	r := e.New(chunkOf(t, task, numbers(5)...), &host{})
	ends(t, Finished, r)
	o := r.Outcome()
	if vs := values(t, o); !slices.Equal(vs, []int{0, 0, 0, 0, 40}) {
		t.Errorf("values %v", vs)
	}
	if ks := kinds(o); !maps.Equal(ks, map[int]wire.Kind{1: wire.KindError, 2: wire.KindPanic, 3: wire.KindGoexit}) {
		t.Errorf("failures %v", ks)
	}
	if o.First != 1000 || o.Calls != 5 || e.calls.Load() != 5 || e.failures.Load() != 3 {
		t.Errorf("the outcome is of %d calls from %d; %d calls and %d failures are counted", o.Calls, o.First, e.calls.Load(), e.failures.Load())
	}
}

func TestShortWaitsBetweenAttemptsKeepTheSlot(t *testing.T) {
	runs := map[int]int{}
	task := tasks.Define("third", func(ctx context.Context, n int) (int, error) {
		runs[n]++
		if n == 1 && tasks.Info(ctx).Attempt < 3 {
			return 0, errors.New("not yet")
		}
		return n, nil
	}, tasks.Retry(2, tasks.Every(time.Millisecond)))
	r := executor(task).New(chunkOf(t, task, 0, 1, 2), &host{})
	ends(t, Finished, r)
	if o := r.Outcome(); !slices.Equal(values(t, o), []int{0, 1, 2}) || len(o.Errors) > 0 {
		t.Errorf("the outcome is %+v", o)
	}
	if !maps.Equal(runs, map[int]int{0: 1, 1: 3, 2: 1}) {
		t.Errorf("the calls ran %v times", runs)
	}
}

func TestLongWaitsBetweenAttemptsPostponeTheChunk(t *testing.T) {
	runs := map[int]int{}
	task := tasks.Define("second", func(ctx context.Context, n int) (int, error) {
		runs[n]++
		if n == 1 && tasks.Info(ctx).Attempt == 1 {
			return 0, errors.New("not yet")
		}
		return n, nil
	}, tasks.Retry(1, tasks.Every(time.Hour)))
	chunk := chunkOf(t, task, 0, 1, 2)
	r := executor(task).New(chunk, &host{})
	res := ends(t, Postponed, r)
	if res.Wait != time.Hour || res.Waiting != 1 || res.Last.Call != 1 || res.Last.Message != "not yet" || time.Until(res.Due) < 59*time.Minute {
		t.Errorf("the result is %+v", res)
	}
	p, ok := r.Partial(res.Due)
	if !ok || p.Finished() != 2 || len(p.Pending) != 1 || p.Pending[0].Call != 1 {
		t.Fatalf("the partial is %+v, %v", p, ok)
	}

	chunk.Partial = p.Encode()
	again := ends(t, Postponed, executor(task).New(chunk, &host{})) // another worker gets it early
	if !again.Due.Equal(res.Due.Truncate(time.Millisecond)) || again.Waiting != 1 || again.Last != nil {
		t.Errorf("the next result is %+v, want the same due time as %+v", again, res)
	}

	p.Due = 0
	chunk.Partial = p.Encode()
	r = executor(task).New(chunk, &host{})
	ends(t, Finished, r)
	if o := r.Outcome(); !slices.Equal(values(t, o), []int{0, 1, 2}) || len(o.Errors) > 0 {
		t.Errorf("the outcome is %+v", o)
	}
	if !maps.Equal(runs, map[int]int{0: 1, 1: 2, 2: 1}) {
		t.Errorf("the calls ran %v times", runs)
	}
}

func TestADrainKeepsTheCallsThatEnded(t *testing.T) {
	task := tasks.Define("same", func(_ context.Context, n int) (int, error) { return n, nil })
	e := executor(task)
	e.Exact, e.drainAfter = true, 2
	chunk := chunkOf(t, task, 7, 8, 9)
	r := e.New(chunk, &host{})
	ends(t, Interrupted, r)
	p, ok := r.Partial(time.Time{})
	if !ok || p.Next != 2 || p.Due != 0 {
		t.Fatalf("the partial is %+v, %v; want 2 calls", p, ok)
	}
	chunk.Partial = p.Encode()
	other := executor(task)
	r = other.New(chunk, &host{})
	ends(t, Finished, r)
	if vs := values(t, r.Outcome()); !slices.Equal(vs, []int{7, 8, 9}) || other.calls.Load() != 1 {
		t.Errorf("values %v after %d calls there; want 1", vs, other.calls.Load())
	}
}

func TestACanceledContextInterruptsTheRun(t *testing.T) {
	why := errors.New("the job is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	task := tasks.Define("waits", func(ctx context.Context, n int) (int, error) {
		if n == 1 {
			cancel(why)
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}
		return n, nil
	})
	r := executor(task).New(chunkOf(t, task, 0, 1, 2), &host{})
	if res := r.Do(ctx); res.End != Interrupted {
		t.Fatalf("the run ended with %+v", res)
	}
	if p, _ := r.Partial(time.Time{}); p.Next != 1 || len(p.Errors) > 0 {
		t.Errorf("the partial is %+v; want call 1 not to count as a failure", p)
	}
}

// Only the call that is stuck runs, since any other may be slow on a busy machine.
func TestAHardTimeoutAbandonsItsCall(t *testing.T) {
	may := make(chan struct{})
	defer close(may)
	task := tasks.Define("stuck", func(context.Context, int) (int, error) {
		<-may
		return 0, nil
	}, tasks.HardTimeout(20*time.Millisecond))
	e := executor(task)
	r := e.New(chunkOf(t, task, 0, 1, 2), &host{})
	if res := ends(t, Abandoned, r); !res.Stuck || !res.Due.IsZero() {
		t.Errorf("the result is %+v", res)
	}
	if p, _ := r.Partial(time.Time{}); p.Next != 1 || kinds(p.Outcome)[0] != wire.KindTimeout || e.recycled.Load() != 1 {
		t.Errorf("the partial is %+v after %d requests to end the process", p, e.recycled.Load())
	}
	last := e.New(chunkOf(t, task, 0), &host{})
	if res := ends(t, Finished, last); !res.Stuck || kinds(last.Outcome())[0] != wire.KindTimeout {
		t.Errorf("the result is %+v, the outcome %+v", res, last.Outcome())
	}
	retried := chunkOf(t, task, 0)
	retried.Policy = `{"retries":1}`
	r = e.New(retried, &host{})
	if res := ends(t, Abandoned, r); !res.Stuck || res.Due.IsZero() {
		t.Errorf("the result is %+v; want the next attempt on another worker", res)
	}
	if p, _ := r.Partial(time.Time{}); len(p.Pending) != 1 || p.Pending[0].Call != 0 {
		t.Errorf("the partial is %+v", p)
	}
}

func TestTheLastAttemptSavesBeforeEachCall(t *testing.T) {
	task := tasks.Define("same", func(_ context.Context, n int) (int, error) { return n, nil })
	chunk := chunkOf(t, task, 7, 8, 9)
	chunk.Deaths = 2
	h := &host{}
	ends(t, Finished, executor(task).New(chunk, h))
	var next []int
	for _, p := range h.saved {
		next = append(next, p.Next)
	}
	if !slices.Equal(next, []int{0, 1, 2}) {
		t.Errorf("checkpoints were made at calls %v, want each", next)
	}
}

func TestTooManyDeathsFailTheCallToBlame(t *testing.T) {
	task := tasks.Define("same", func(ctx context.Context, n int) (int, error) {
		return n + tasks.Info(ctx).Delivery, nil
	})
	chunk := chunkOf(t, task, 10, 20, 30)
	chunk.Deaths = 3
	chunk.Partial = wire.Partial{Next: 1, Outcome: wire.Outcome{First: 1000, Calls: 3, Values: []byte("[10,0,0]")}}.Encode()
	h := &host{}
	r := executor(task).New(chunk, h)
	ends(t, Finished, r)
	o := r.Outcome()
	if ks := kinds(o); !maps.Equal(ks, map[int]wire.Kind{1: wire.KindWorkerLost}) || !slices.Equal(values(t, o), []int{10, 0, 31}) {
		t.Errorf("the outcome is %v, %v", values(t, o), ks)
	}
	if len(h.saved) != 1 || h.saved[0].Next != 2 {
		t.Errorf("%d checkpoints, want one that has the failure", len(h.saved))
	}
}

func TestASaveMayEndTheRun(t *testing.T) {
	task := tasks.Define("same", func(_ context.Context, n int) (int, error) { return n, nil })
	ctx, cancel := context.WithCancelCause(t.Context())
	chunk := chunkOf(t, task, 1, 2)
	chunk.Deaths = 2
	e := executor(task)
	r := e.New(chunk, &host{onSave: func() { cancel(errors.New("another worker has it")) }})
	if res := r.Do(ctx); res.End != Interrupted || e.calls.Load() > 1 {
		t.Errorf("the run ended with %+v after %d calls", res, e.calls.Load())
	}
}

func TestAChunkThatContradictsItselfIsDamaged(t *testing.T) {
	task := tasks.Define("same", func(_ context.Context, n int) (int, error) { return n, nil })
	good := chunkOf(t, task, 1, 2)
	for name, change := range map[string]func(*Chunk){
		"arguments without a frame": func(c *Chunk) { c.Args = []byte("[1,2]") },
		"more calls than the job":   func(c *Chunk) { c.Total = 1001 },
		"a partial without a frame": func(c *Chunk) { c.Partial = []byte("?") },
		"a partial of other calls": func(c *Chunk) {
			c.Partial = wire.Partial{Outcome: wire.Outcome{First: 5, Calls: 2}}.Encode()
		},
	} {
		c := *good
		change(&c)
		if res := executor(task).New(&c, &host{}).Do(t.Context()); res.End != Damaged || res.Err == nil {
			t.Errorf("%s: the run ended with %+v", name, res)
		}
	}
}

func TestAChunkThatDoesNotOpenFails(t *testing.T) {
	task := tasks.Define("same", func(_ context.Context, n int) (int, error) { return n, nil })
	good := chunkOf(t, task, 1, 2)
	for name, tt := range map[string]struct {
		change func(*Chunk)
		kind   wire.Kind
		says   string
	}{
		"unknown task":      {func(c *Chunk) { c.Task = "other" }, wire.KindUnknownTask, `worker w knows same`},
		"other codec":       {func(c *Chunk) { c.Codec = "other" }, wire.KindBadArgument, `codec "other"`},
		"unreadable policy": {func(c *Chunk) { c.Policy = "{" }, wire.KindBadArgument, "policy of the job"},
	} {
		c := *good
		tt.change(&c)
		r := executor(task).New(&c, &host{})
		ends(t, Finished, r)
		o := r.Outcome()
		if ks := kinds(o); !maps.Equal(ks, map[int]wire.Kind{0: tt.kind, 1: tt.kind}) || !strings.Contains(o.Errors[0].Message, tt.says) {
			t.Errorf("%s: the failures are %+v", name, o.Errors)
		}
		if _, ok := r.Partial(time.Time{}); ok {
			t.Errorf("%s: there is something to go on with", name)
		}
	}
}

func TestAStackStartsWhereTheTaskPanicked(t *testing.T) {
	got := trimStack("goroutine 7 [running]:\nruntime/debug.Stack()\n\tstack.go:26\nus.died()\n\tchunk.go:1\npanic({1, 2})\n\tpanic.go:860\nuser.task()\n\ttask.go:3\n")
	if want := "goroutine 7 [running]:\nuser.task()\n\ttask.go:3\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := trimStack("something else"); got != "something else" {
		t.Errorf("an unfamiliar stack became %q", got)
	}
}
