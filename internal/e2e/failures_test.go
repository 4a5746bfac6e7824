package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// taskError returns the *results.TaskError in err.
func taskError(t *testing.T, err error) *results.TaskError {
	t.Helper()
	te, ok := errors.AsType[*results.TaskError](err)
	if !ok {
		t.Fatalf("the error is no *results.TaskError: %v", err)
	}
	return te
}

func TestAFailingCallOfAMapHarmsNoOther(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.worker(t, 2)
		p := e.pool(t)
		args := []string{actFine, actError, actPanic, "a", actGoexit, actSentinel, "b"}
		for _, size := range []int{1, 3, 7} {
			m, err := producer.MapAsync(ctx(t), p, act, args, producer.ChunkSize(size))
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Get(ctx(t))
			if want := []string{actFine, "", "", "a", "", "", "b"}; !slices.Equal(got, want) {
				t.Errorf("chunks of %d: values %q, want %q", size, got, want)
			}
			me, ok := errors.AsType[*results.MapError](err)
			if !ok {
				t.Fatalf("chunks of %d: the error is no *results.MapError: %v", size, err)
			}
			if me.Task != "act" || me.Job != m.ID() || me.Calls != 7 {
				t.Errorf("chunks of %d: the error is about task %q, job %q, %d calls", size, me.Task, me.Job, me.Calls)
			}
			want := []struct {
				call int
				kind results.Kind
			}{{1, results.KindError}, {2, results.KindPanic}, {4, results.KindGoexit}, {5, results.KindError}}
			if len(me.Errors) != len(want) {
				t.Fatalf("chunks of %d: %d calls failed, want %d: %v", size, len(me.Errors), len(want), err)
			}
			for i, te := range me.Errors {
				if te.Call != want[i].call || te.Kind != want[i].kind || te.Task != "act" || te.Job != m.ID() || te.Attempts != 1 ||
					!strings.HasPrefix(te.Worker, w.name+":") {
					t.Errorf("chunks of %d: failure %d is %+v, want call %d, kind %s", size, i, *te, want[i].call, want[i].kind)
				}
			}
			if !errors.Is(err, errStock) || !errors.Is(me.Errors[3], errStock) || errors.Is(me.Errors[0], errStock) {
				t.Errorf("chunks of %d: errors.Is does not find the registered error where it is", size)
			}
			ok, err = m.Successful()
			same(t, "Successful", ok, err, false)
			pr := m.Progress()
			pr.Rate = 0 // it is what it is
			if pr != (results.Progress{Calls: 7, Done: 7, Failed: 4, Ended: true}) {
				t.Errorf("chunks of %d: progress %+v", size, pr)
			}
		}
	})
}

func TestEachWayToFailArrivesAndTheWorkerLivesOn(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.worker(t, 1)
		p := e.pool(t)
		fail := func(what string) *results.TaskError {
			v, err := producer.Apply(ctx(t), p, act, what)
			if v != "" {
				t.Errorf("%s: value %q beside the error", what, v)
			}
			return taskError(t, err)
		}
		if te := fail(actError); te.Message != "cannot act" || te.Type != "*e2e_test.actError1" || te.Stack != "" {
			t.Errorf("error: %+v", *te)
		}
		if te := fail(actSentinel); !errors.Is(te, errStock) || te.Message != "item 7: out of stock" {
			t.Errorf("registered error: %+v", *te)
		}
		te := fail(actPanic)
		if te.Kind != results.KindPanic || te.Message != "the task fell over" || te.Type != "string" {
			t.Errorf("panic: %+v", *te)
		}
		if !strings.Contains(te.Stack, "panicInTheTask") || !strings.Contains(te.Stack, "tasks_test.go") {
			t.Errorf("the stack does not name the function that panicked:\n%s", te.Stack)
		}
		mentions(t, te, `"act"`, "panic", "the task fell over")
		if te := fail(actGoexit); te.Kind != results.KindGoexit || !strings.Contains(te.Stack, "runAct") {
			t.Errorf("runtime.Goexit: %+v", *te)
		}
		id, err := producer.Apply(ctx(t), p, whoami, 0)
		if err != nil || !strings.HasPrefix(id, w.name+":") {
			t.Errorf("the call after the failures: worker %q, error %v", id, err)
		}
	})
}

func TestAnUnknownTaskIsAnErrorThatNamesIt(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		ghost := tasks.Declare[int, int]("squar") // a prefix of one that exists
		_, err := producer.Apply(ctx(t), p, ghost, 1)
		if te := taskError(t, err); te.Kind != results.KindUnknownTask || !errors.Is(err, results.ErrUnknownTask) {
			t.Errorf("not an unknown task: %+v", *te)
		}
		mentions(t, err, `"squar"`, e.queue, "knows square, ", fmt.Sprintf("and %d more", len(allTasks)-5))
		if n := len(err.Error()); n > 400 {
			t.Errorf("the error has %d bytes: %v", n, err)
		}
		_, err = producer.Map(ctx(t), p, ghost, numbers(5), producer.ChunkSize(2))
		if me, ok := errors.AsType[*results.MapError](err); !ok || len(me.Errors) != 5 || !errors.Is(err, results.ErrUnknownTask) {
			t.Errorf("a map of an unknown task: %v", err)
		}
		n, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "the call after", n, err, 9)
	})
}

func TestATaskThatAnotherWorkerKnowsIsLeftToIt(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1, only("hold", "square"))
		p, gate := e.pool(t), e.probe()
		held, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1) // the one that knows square is busy
		ignorant := e.worker(t, 1, only("add"), func(s *workerSpec) { s.Debug = true })
		r, err := producer.ApplyAsync(ctx(t), p, square, 5)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the ignorant worker has given the delivery back", func() bool {
			return slices.ContainsFunc(strings.Split(e.log.String(), "\n"), func(line string) bool {
				return strings.Contains(line, "a delivery") && strings.Contains(line, r.ID()) && strings.Contains(line, "verdict=elsewhere")
			})
		})
		if r.Ready() {
			_, err := r.Get(ctx(t))
			t.Errorf("the call ended while only a busy worker knows its task: %v", err)
		}
		e.open(t, gate)
		if _, err := held.Get(ctx(t)); err != nil {
			t.Error(err)
		}
		// Nothing but chance says who of the two gets the delivery next.
		if err := ignorant.stop(t); err != nil {
			t.Error(err)
		}
		n, err := r.Get(ctx(t))
		same(t, "the call", n, err, 25)
	})
}
