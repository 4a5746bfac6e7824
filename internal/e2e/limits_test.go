package e2e_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

func TestACallTimeoutEndsTheContextAndFailsTheCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) { callTimeoutEndsCalls(t, e) })
}

func callTimeoutEndsCalls(t *testing.T, e *env, change ...func(*workerSpec)) {
	e.worker(t, 1, change...)
	p := e.pool(t)
	vs, err := producer.Map(ctx(t), p, sleep, []int{1, 60_000, 2}, producer.ChunkSize(3), producer.CallTimeout(200*time.Millisecond))
	me, ok := errors.AsType[*results.MapError](err)
	if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 || me.Errors[0].Kind != results.KindTimeout || !errors.Is(err, results.ErrCallTimeout) {
		t.Fatalf("error %v, want a timeout of call 1", err)
	}
	mentions(t, err, "200ms")
	same(t, "the other calls", vs, nil, []int{1, 0, 2})
	// A value that comes late is a value.
	v, err := producer.Apply(ctx(t), p, stubborn, 300, producer.CallTimeout(50*time.Millisecond))
	same(t, "a call that ignored its context", v, err, 300)
}

func TestAHardTimeoutGivesTheCallUpAndRecyclesTheWorker(t *testing.T) {
	each(t, func(t *testing.T, e *env) { hardTimeoutRecycles(t, e) })
}

func hardTimeoutRecycles(t *testing.T, e *env, change ...func(*workerSpec)) {
	w := e.worker(t, 2, append(change, dies)...)
	p := e.pool(t)
	m, err := producer.MapAsync(ctx(t), p, stubborn, []int{1, 3000, 2}, producer.ChunkSize(3), producer.HardTimeout(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.ended:
	case <-time.After(patience):
		t.Fatal("the worker goes on with a slot that is lost")
	}
	if !e.real && !errors.Is(w.err, worker.ErrRecycle) {
		t.Errorf("the worker ended with %v, want ErrRecycle", w.err)
	}
	e.worker(t, 1, change...) // what a service manager does; it goes on with the chunk
	vs, err := m.Get(ctx(t))
	me, ok := errors.AsType[*results.MapError](err)
	if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 || !errors.Is(err, results.ErrCallTimeout) {
		t.Fatalf("error %v, want a timeout of call 1", err)
	}
	mentions(t, err, "300ms", "HardTimeout")
	same(t, "the other calls", vs, nil, []int{1, 0, 2})
}

func TestMaxCallsEndsTheWorkerCleanlyAndLosesNothing(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, square, []int{1, 2, 3, 4, 5, 6, 7}, producer.ChunkSize(2))
		if err != nil {
			t.Fatal(err)
		}
		workers := 0
		for done := false; !done; workers++ {
			w := e.launch(t, 1, func(s *workerSpec) { s.MaxCalls = 3 })
			select {
			case <-m.Done():
				done = true
			case <-w.ended:
				if w.err != nil {
					t.Fatalf("a worker ended with %v", w.err)
				}
			case <-time.After(patience):
				t.Fatal("neither the worker nor the job ends")
			}
		}
		vs, err := m.Get(ctx(t))
		same(t, "the squares", vs, err, []int{1, 4, 9, 16, 25, 36, 49})
		if workers < 2 || workers > 3 {
			t.Errorf("%d workers of 3 calls each ran 7 calls", workers)
		}
	})
}

func TestInitReachesTheCallsAndShutdownComesLast(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		mark := e.probe()
		w := e.worker(t, 1, func(s *workerSpec) { s.Initial, s.Shutdown = "a table", mark.Key })
		got, err := producer.Apply(ctx(t), e.pool(t), initial, 0)
		same(t, "what a call finds in its context", got, err, "a table")
		if err := w.stop(t); err != nil {
			t.Error(err)
		}
		if v := e.rdb.Get(ctx(t), mark.Key).Val(); v != "a table" {
			t.Errorf("Shutdown found %q in its context", v)
		}
	})
}

func TestStoppingAWorkerInItsInitIsNoFailure(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.launch(t, 1, func(s *workerSpec) { s.Initial = "wait" })
		eventually(t, "its Init waits", func() bool { return strings.Contains(e.log.String(), "Init waits") })
		if err := w.stop(t); err != nil {
			t.Errorf("the worker ended with %v, want success", err)
		}
		want := "told to stop while it started"
		if !strings.Contains(e.log.String(), want) {
			t.Errorf("its log does not say %q", want)
		}
	})
}

func TestAFailingInitEndsTheWorkerBeforeItsFirstCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p, mark := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, count, mark)
		if err != nil {
			t.Fatal(err)
		}
		w := e.launch(t, 1, dies, func(s *workerSpec) { s.Initial = "fail" })
		<-w.ended
		if w.err == nil || !e.real && !strings.Contains(w.err.Error(), "no table, no chairs") {
			t.Errorf("the worker ended with %v", w.err)
		}
		e.worker(t, 1)
		n, err := r.Get(ctx(t))
		same(t, "how often the call ran", n, err, 1)
	})
}

func TestAChunkIsContinuedWhereItsWorkerStopped(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		first := e.worker(t, 1)
		p, gate, mark := e.pool(t), e.probe(), e.probe()
		// One chunk: two calls that count, one that holds, two that count.
		args := []mixed{{Count: mark}, {Count: mark}, {Hold: gate}, {Count: mark}, {Count: mark}}
		m, err := producer.MapAsync(ctx(t), p, mix, args, producer.ChunkSize(5))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		id := e.workers(t)[0].ID
		first.term()
		e.awaitDraining(t, id)
		e.open(t, gate)
		<-first.ended
		second := e.worker(t, 1)
		got, err := m.Get(ctx(t))
		if err != nil || len(got) != 5 {
			t.Fatalf("%v, %v", got, err)
		}
		for i, id := range got {
			want := first.name
			if i > 2 {
				want = second.name
			}
			if !strings.HasPrefix(id, want+":") {
				t.Errorf("call %d ran on %s, want %s", i, id, want)
			}
		}
		if n := e.rdb.Get(ctx(t), mark.Key).Val(); n != "4" {
			t.Errorf("four counting calls ran %s times", n)
		}
	})
}

func TestProgressMovesWhileAChunkRuns(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		args := make([]int, 8)
		for i := range args {
			args[i] = 400
		}
		m, err := producer.MapAsync(ctx(t), p, sleep, args, producer.ChunkSize(8), producer.Retry(1, tasks.Backoff{}))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int]bool{}
		for progress := range m.Watch(ctx(t)) {
			seen[progress.Done] = true
		}
		vs, err := m.Get(ctx(t))
		same(t, "the values", vs, err, args)
		if len(seen) < 3 { // 0, at least one checkpoint, and 8
			t.Errorf("progress showed %v", seen)
		}
	})
}
