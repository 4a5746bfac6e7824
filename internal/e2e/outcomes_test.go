package e2e_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestAllAndAsCompletedYieldEveryOutcome(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 3)
		p := e.pool(t)
		what := slices.Repeat([]string{actFine, actSentinel, actFine, actPanic}, 50)
		m, err := producer.MapAsync(ctx(t), p, act, what, producer.ChunkSize(3))
		if err != nil {
			t.Fatal(err)
		}
		right := func(i int, v string, err error) {
			t.Helper()
			te, _ := errors.AsType[*results.TaskError](err)
			if fine := what[i] == actFine; fine != (err == nil) || fine != (v == actFine) || !fine && (te == nil || te.Call != i) {
				t.Errorf("call %d (%s): %q, %v", i, what[i], v, err)
			}
		}
		for range 2 { // while it runs, and when it is over
			i := 0
			for v, err := range m.All(ctx(t)) {
				right(i, v, err)
				i++
			}
			seen := make([]bool, len(what))
			for i, o := range m.AsCompleted(ctx(t)) {
				right(i, o.Value, o.Err)
				if seen[i] {
					t.Errorf("call %d came twice", i)
				}
				seen[i] = true
			}
			if i != len(what) || slices.Contains(seen, false) {
				t.Errorf("All yielded %d of %d calls, AsCompleted %v", i, len(what), seen)
			}
		}
		empty, err := producer.MapAsync(ctx(t), p, act, nil)
		if err != nil {
			t.Fatal(err)
		}
		for v, err := range empty.All(ctx(t)) {
			t.Errorf("an empty map yields %q, %v", v, err)
		}
	})
}

func TestAllAndAsCompletedEndWithTheReasonWhyNoMoreComes(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p, gate := e.pool(t), e.probe()
		m, err := producer.MapAsync(ctx(t), p, hold, []probe{gate, gate}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		leaving, leave := context.WithCancel(ctx(t))
		leave()
		if err := lastError(m.All(leaving)); !errors.Is(err, context.Canceled) {
			t.Errorf("All, whose context has ended: %v", err)
		}
		for i, o := range m.AsCompleted(leaving) {
			if i != -1 || !errors.Is(o.Err, context.Canceled) {
				t.Errorf("AsCompleted, whose context has ended: %d, %v", i, o.Err)
			}
		}
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := lastError(m.All(leaving)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("All of a canceled job: %v", err)
		}
		for i, o := range m.AsCompleted(ctx(t)) {
			if i != -1 || !errors.Is(o.Err, results.ErrCanceled) {
				t.Errorf("AsCompleted of a canceled job: %d, %v", i, o.Err)
			}
		}
	})
}
