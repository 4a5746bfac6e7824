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
			done := r.Done()
			isDone := func() bool {
				select {
				case <-done:
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

// Callbacks of a pool run one after the other, and each of these waits for a job that
// has callbacks of its own.
func TestACallbackMayWaitForAnyHandle(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 5)
		p := e.pool(t)
		gate, later := e.probe(), e.probe()
		submit := func() *results.AsyncResult[string] {
			t.Helper()
			r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		a, b := submit(), submit()
		m, err := producer.MapAsync(ctx(t), p, hold, []probe{later, later}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan string, 10)
		wait := func(who string, others ...*results.AsyncResult[string]) {
			for _, r := range others {
				if _, err := r.Get(ctx(t)); err != nil {
					t.Errorf("%s: Get: %v", who, err)
				}
				if _, err := r.GetTimeout(patience); err != nil || !r.Ready() {
					t.Errorf("%s: GetTimeout: %v, ready: %t", who, err, r.Ready())
				}
				receive(t, who+": Done", r.Done())
			}
			ran <- who
		}
		a.OnSuccess(func(string) { wait("a", a, b) })
		b.OnSuccess(func(string) { wait("b", b, a) }) // they wait for each other
		a.OnSuccess(func(string) {
			m.OnSuccess(func([]string) { wait("within", a) })
			if v, err := m.Get(ctx(t)); err != nil || len(v) != 2 {
				t.Errorf("a map in a callback: %v, %v", v, err)
			}
			receive(t, "the map's Done", m.Done())
			for range m.AsCompleted(ctx(t)) {
			}
			n, err := producer.Apply(ctx(t), p, square, 3)
			same(t, "Apply in a callback", n, err, 9)
			count := 0
			for v, err := range producer.IMap(ctx(t), p, square, upTo(20, nil)) {
				same(t, "a stream in a callback", v, err, count*count)
				count++
			}
			if count != 20 {
				t.Errorf("a stream in a callback yielded %d values", count)
			}
			ran <- "a, more"
		})
		b.OnError(func(err error) { t.Errorf("b failed: %v", err) })
		e.open(t, gate)
		e.awaitStarted(t, later, 2)
		e.open(t, later)
		got := map[string]bool{}
		for range 4 {
			got[receive(t, "a callback", ran)] = true
		}
		if len(got) != 4 {
			t.Errorf("callbacks that ran: %v", got)
		}
		receive(t, "Done after the callbacks", a.Done())
	})
}

func TestCallbacksOfTwoPoolsMayWaitForEachOther(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		gate, ran := e.probe(), make(chan string, 2)
		var handles []*results.AsyncResult[string]
		for range 2 {
			r, err := producer.ApplyAsync(ctx(t), e.pool(t), hold, gate)
			must(t, err)
			handles = append(handles, r)
		}
		var both sync.WaitGroup
		both.Add(2)
		for i, r := range handles {
			r.OnSuccess(func(string) {
				both.Done()
				both.Wait() // now both run
				receive(t, "Done of the other", handles[1-i].Done())
				ran <- r.ID()
			})
		}
		e.open(t, gate)
		for range handles {
			receive(t, "a callback", ran)
		}
	})
}

func TestJoinInACallbackIsAnErrorAndTerminateEnds(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2) // one for the call that waits: the lanes of a queue have no order
		p, other := e.pool(t), e.pool(t)
		r, err := producer.ApplyAsync(ctx(t), p, square, 3)
		if err != nil {
			t.Fatal(err)
		}
		waits, err := producer.ApplyAsync(ctx(t), p, hold, e.probe())
		if err != nil {
			t.Fatal(err)
		}
		joined, terminated := make(chan error, 1), make(chan error, 1)
		r.OnSuccess(func(int) {
			other.Close()
			if err := other.Join(ctx(t)); err != nil { // another pool, without callbacks
				t.Errorf("joining another pool: %v", err)
			}
			p.Close()
			joined <- p.Join(ctx(t))
			terminated <- p.Terminate(ctx(t))
		})
		after := make(chan error, 1)
		waits.OnError(func(err error) { after <- err })
		mentions(t, receive(t, "Join in a callback", joined), "callback")
		if err := receive(t, "Terminate in a callback", terminated); err != nil {
			t.Errorf("Terminate in a callback: %v", err)
		}
		if err := receive(t, "the callback of the canceled job", after); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("the job that waited: %v", err)
		}
	})
}
