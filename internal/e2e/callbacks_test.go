package e2e_test

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestExactlyOneCallbackRunsOnceBeforeDoneCloses(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		for _, c := range []struct {
			what    string
			success bool
		}{{actFine, true}, {actError, false}, {actPanic, false}} {
			gate := e.probe()
			blocker, err := producer.MapAsync(ctx(t), p, hold, []probe{gate, gate}, producer.ChunkSize(1))
			if err != nil {
				t.Fatal(err)
			}
			e.awaitStarted(t, gate, 2) // so that the callbacks are registered in time
			r, err := producer.ApplyAsync(ctx(t), p, act, c.what)
			if err != nil {
				t.Fatal(err)
			}
			var succeeded, failed atomic.Int32
			isDone := func() bool {
				select {
				case <-r.Done():
					return true
				default:
					return false
				}
			}
			r.OnSuccess(func(v string) {
				if v != c.what || isDone() {
					t.Errorf("OnSuccess got %q, Done closed: %v", v, isDone())
				}
				succeeded.Add(1)
			})
			r.OnError(func(err error) {
				if _, ok := errors.AsType[*results.TaskError](err); !ok || isDone() {
					t.Errorf("OnError got %v, Done closed: %v", err, isDone())
				}
				failed.Add(1)
			})
			e.open(t, gate)
			receive(t, "Done", r.Done())
			if s, f := succeeded.Load() == 1, failed.Load() == 1; s != c.success || f == c.success ||
				succeeded.Load()+failed.Load() != 1 {
				t.Errorf("%s: OnSuccess ran %d times, OnError %d times when Done closed", c.what, succeeded.Load(), failed.Load())
			}
			// One that is registered late runs too.
			late := make(chan bool, 2)
			r.OnSuccess(func(string) { late <- true })
			r.OnError(func(error) { late <- false })
			if got := receive(t, "the late callback", late); got != c.success {
				t.Errorf("%s: the late callback was the other one", c.what)
			}
			if _, err := blocker.Get(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestACallbackThatPanicsOrExitsIsHarmless(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		r, err := producer.ApplyAsync(ctx(t), p, square, 6)
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan int, 1)
		r.OnSuccess(func(int) { panic("a callback's own mistake") })
		r.OnSuccess(func(int) { runtime.Goexit() })
		r.OnSuccess(func(n int) { ran <- n })
		e.worker(t, 1)
		if n := receive(t, "the callback behind the others", ran); n != 36 {
			t.Errorf("it got %d", n)
		}
		n, err := r.Get(ctx(t))
		same(t, "the result", n, err, 36)
		n, err = producer.Apply(ctx(t), p, square, 7)
		same(t, "the pool afterwards", n, err, 49)
		mentions(t, errors.New(e.log.String()), "a callback's own mistake")
	})
}

func TestCallbacksRunInTheOrderOfCompletion(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 3)
		p := e.pool(t)
		var mu sync.Mutex
		var order []int
		gates := []probe{e.probe(), e.probe(), e.probe()}
		var handles []*results.AsyncResult[string]
		for i, gate := range gates {
			r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
			if err != nil {
				t.Fatal(err)
			}
			r.OnSuccess(func(string) { mu.Lock(); order = append(order, i); mu.Unlock() })
			handles = append(handles, r)
			e.awaitStarted(t, gate, 1)
		}
		want := []int{2, 0, 1}
		for _, i := range want {
			e.open(t, gates[i])
			receive(t, "Done", handles[i].Done())
		}
		mu.Lock()
		defer mu.Unlock()
		same(t, "the order", order, nil, want)
	})
}
