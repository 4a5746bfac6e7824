package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

func TestAWorkerThatIsToldToStopFinishesItsCalls(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.worker(t, 1)
		p, gate, later := e.pool(t), e.probe(), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		id := e.workers(t)[0].ID
		w.term()
		e.awaitDraining(t, id)
		// It still runs its call, but takes no other.
		next, err := producer.ApplyAsync(ctx(t), p, count, later)
		if err != nil {
			t.Fatal(err)
		}
		e.open(t, gate)
		ran, err := r.Get(ctx(t))
		if err != nil || ran != id {
			t.Errorf("the call ended on worker %q with error %v, want %s", ran, err, id)
		}
		if err := w.stop(t); err != nil {
			t.Errorf("the worker ended with %v, want success", err)
		}
		if n := len(e.workers(t)); n != 0 {
			t.Errorf("%d workers are registered, want none", n)
		}
		if n := e.rdb.Exists(ctx(t), later.Key).Val(); n != 0 {
			t.Error("a worker that was told to stop took another call")
		}
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 1 {
			t.Errorf("the call was started %d times", n)
		}
		e.worker(t, 1)
		n, err := next.Get(ctx(t))
		same(t, "the call that waited", n, err, 1)
	})
}

func TestACallLongerThanTheGraceIsRunByAnotherWorker(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		first := e.worker(t, 1, func(s *workerSpec) { s.Grace = 50 * time.Millisecond })
		p, gate := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		if err := first.stop(t); err != nil {
			t.Errorf("the worker ended with %v, want success: its call obeys its context", err)
		}
		if n := e.rdb.SCard(ctx(t), gate.Key+":canceled").Val(); n != 1 {
			t.Errorf("%d calls were canceled at the end of the grace, want 1", n)
		}
		if r.Ready() {
			_, err := r.Get(ctx(t))
			t.Fatalf("the handle is ready although no worker has finished the call: %v", err)
		}
		second := e.worker(t, 1)
		e.awaitStarted(t, gate, 2)
		e.open(t, gate)
		id, err := r.Get(ctx(t))
		if err != nil || !strings.HasPrefix(id, second.name+":") {
			t.Errorf("the call ended on worker %q with error %v, want %s", id, err, second.name)
		}
	})
}

func TestAWorkerThatCannotHandItsCallsOverSaysSo(t *testing.T) {
	usual(t)
	t.Parallel()
	s := redistest.Start(t, redistest.Config("appendonly yes"), redistest.Config("appendfsync always"))
	e := newEnv(t, s.URL(), true)
	w := e.worker(t, 2, func(s *workerSpec) { s.Grace, s.Dies = 6*time.Second, true })
	p, gate := e.pool(t), e.probe()
	held, err := producer.ApplyAsync(ctx(t), p, hold, gate)
	must(t, err)
	ends, err := producer.ApplyAsync(ctx(t), p, sleep, 4000)
	must(t, err)
	e.awaitStarted(t, gate, 1)
	eventually(t, "the other call runs", func() bool { return e.field(t, ends.ID(), "own:0") != "" })
	must(t, s.Kill())
	if err := w.stop(t); err == nil {
		t.Error("it ended with success")
	}
	if want := "had to abandon 2 chunks"; !strings.Contains(e.log.String(), want) {
		t.Errorf("it does not say %q", want)
	}
	s.Restart(t)
	e.worker(t, 2)
	e.awaitStarted(t, gate, 2)
	e.open(t, gate)
	_, err = held.Get(ctx(t))
	must(t, err)
	n, err := ends.Get(ctx(t))
	same(t, "the call whose outcome was not recorded", n, err, 4000)
}

// What a worker could not give back and has dealt with since is nothing to be told at its
// end.
func TestARecordThatWasDestroyedInMidRunIsNothingThatTheWorkerAbandons(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.worker(t, 1)
		p, gate := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		must(t, err)
		e.awaitStarted(t, gate, 1)
		key := e.key(t, r.ID())
		must(t, e.rdb.Del(ctx(t), key).Err())
		must(t, e.rdb.Set(ctx(t), key, "no hash", 0).Err())
		e.open(t, gate)
		eventually(t, "the worker has found the record damaged", func() bool {
			return strings.Contains(e.log.String(), "a job whose record is damaged")
		})
		survivors(t, p, w)
		if err := w.stop(t); err != nil {
			t.Errorf("the worker ended with %v, want success", err)
		}
		must(t, e.rdb.Del(ctx(t), key).Err())
		if _, err := r.Get(ctx(t)); err == nil {
			t.Error("the job whose record was destroyed has a value")
		}
	})
}

func TestAWorkerEndsSoonAfterItsGraceEvenIfRedisStandsStill(t *testing.T) {
	usual(t)
	t.Parallel()
	s := redistest.Start(t)
	e := newEnv(t, s.URL(), true)
	grace := func(s *workerSpec) { s.Grace, s.Dies = time.Second, true }
	p, gate := e.pool(t), e.probe()
	busy := e.worker(t, 1, grace)
	r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
	must(t, err)
	e.awaitStarted(t, gate, 1)
	idle := e.worker(t, 1, grace)
	must(t, s.Pause())
	began := time.Now()
	busy.term()
	if err := idle.stop(t); err != nil {
		t.Errorf("the idle worker ended with %v, want success", err)
	}
	if err := busy.stop(t); err == nil {
		t.Error("the busy worker, which cannot give its call back, ended with success")
	}
	// A grace of 1 s and what surrounds it; it was 23 s.
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("they ended after %v", took)
	}
	t.Logf("they ended after %v", time.Since(began))
	must(t, s.Resume())
	e.worker(t, 1)
	e.open(t, gate)
	if _, err := r.Get(ctx(t)); err != nil {
		t.Error(err)
	}
}
