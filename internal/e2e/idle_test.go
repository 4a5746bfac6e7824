package e2e_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// idleFor is longer than asynq's lease of a delivery, 30 s.
const idleFor = 35 * time.Second

// holdAndFail is hold, and fails.
var holdAndFail = tasks.Define("hold.fail", func(ctx context.Context, p probe) (string, error) {
	if s, err := runHold(ctx, p); err != nil {
		return s, err
	}
	return "", errStock
})

func init() { allTasks = append(allTasks, holdAndFail) }

// aside is an env of the same Redis with a queue of its own.
func (e *env) aside(t *testing.T) *env { return newEnv(t, e.url, e.real) }

// held submits hold, or what is like it, and returns once it runs.
func (e *env) held(t *testing.T, task *tasks.Task[probe, string]) (*results.AsyncResult[string], probe) {
	t.Helper()
	gate := e.probe()
	r, err := producer.ApplyAsync(ctx(t), e.pool(t), task, gate)
	must(t, err)
	e.awaitStarted(t, gate, 1)
	return r, gate
}

// awaitListed waits until asynq lists a delivery of the queue as running. It looks at the
// delivery's lease then.
func (e *env) awaitListed(t *testing.T) {
	t.Helper()
	eventually(t, "asynq lists the call", func() bool {
		servers, err := e.inspector().Servers()
		must(t, err)
		return slices.ContainsFunc(servers, func(s *asynq.ServerInfo) bool {
			return slices.ContainsFunc(s.ActiveWorkers, func(w *asynq.WorkerInfo) bool { return job.QueueOf(w.Queue) == e.queue })
		})
	})
}

// keepsItsCall tells the worker to stop and wants it to finish the call that it runs.
func (e *env) keepsItsCall(t *testing.T, w *testWorker, r *results.AsyncResult[string], gate probe) {
	t.Helper()
	w.term()
	eventually(t, "the worker drains", func() bool { return strings.Contains(e.log.String(), "the worker drains") })
	select {
	case <-w.ended:
		t.Errorf("the worker ended in the middle of its call, with %v", w.err)
	case <-time.After(500 * time.Millisecond): // of 20 s of grace
	}
	e.open(t, gate)
	name, err := r.GetTimeout(patience)
	if err != nil || !strings.HasPrefix(name, w.name+":") {
		t.Errorf("the call ended on worker %q with error %v, want %s", name, err, w.name)
	}
	if err := w.stop(t); err != nil {
		t.Errorf("the worker ended with %v, want success", err)
	}
	if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 1 {
		t.Errorf("the call was started %d times, want 1", n)
	}
}

// archives wants the one failed delivery to be in asynq's archive at once, beside so many
// that are active.
func (e *env) archives(t *testing.T, active int, late func() time.Duration) {
	t.Helper()
	began := time.Now()
	eventually(t, "asynq shows the failed delivery", func() bool {
		q := e.queueInfo(t)
		return q.Archived == 1 && q.Failed == 1 && q.Active == active
	})
	inTime(t, "archiving it", time.Since(began), time.Second, late)
}

// A worker that had nothing to do for longer than a lease runs its next call as any other.
// One test waits for all, since each wait takes a place among those that run in parallel.
func TestAnIdleWorkerServesLikeABusyOne(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		stops, hands, mixed, fails, frozen := e, e.aside(t), e.aside(t), e.aside(t), e.aside(t)
		kept := stops.worker(t, 1)
		first := hands.worker(t, 1, func(s *workerSpec) { s.Grace = 50 * time.Millisecond })
		mixed.worker(t, 1, only("add")) // two of them, so that a map of two calls meets one
		mixed.worker(t, 1, only("add"))
		mixed.worker(t, 1, only("square"))
		fails.worker(t, 1)
		var stopped *testWorker
		var outlasts *results.AsyncResult[string]
		var gate probe
		if e.real {
			stopped = frozen.worker(t, 1)
			outlasts, gate = frozen.held(t, hold)
			must(t, syscall.Kill(stopped.pid, syscall.SIGSTOP))
		}
		mixedPool, failsPool := mixed.pool(t), fails.pool(t)
		<-time.After(idleFor)
		late := metronome(t)
		keeps, keptGate := stops.held(t, hold)
		goes, goesGate := hands.held(t, hold)
		stops.awaitListed(t)
		hands.awaitListed(t)

		t.Run("it passes on what it does not know", func(t *testing.T) {
			began := time.Now()
			got, err := producer.Map(ctx(t), mixedPool, square, numbers(2), producer.ChunkSize(1))
			if err != nil || !slices.Equal(got, []int{0, 1}) {
				t.Errorf("the values are %v, %v", got, err)
			}
			inTime(t, "a map of which two workers of three do not know the task", time.Since(began), 200*time.Millisecond, late)
		})
		t.Run("its failed call is archived", func(t *testing.T) {
			_, err := producer.Apply(ctx(t), failsPool, act, actError)
			taskError(t, err)
			fails.archives(t, 0, late)
		})
		t.Run("it finishes its call after SIGTERM", func(t *testing.T) {
			stops.keepsItsCall(t, kept, keeps, keptGate)
		})
		t.Run("it hands its call over", func(t *testing.T) {
			second := hands.worker(t, 1)
			began := time.Now()
			if err := first.stop(t); err != nil {
				t.Errorf("the worker ended with %v, want success", err)
			}
			hands.awaitStarted(t, goesGate, 2)
			inTime(t, "the hand-over", time.Since(began), 3*time.Second, late)
			hands.open(t, goesGate)
			name, err := goes.Get(ctx(t))
			if err != nil || !strings.HasPrefix(name, second.name+":") {
				t.Errorf("the call ended on worker %q with error %v, want %s", name, err, second.name)
			}
		})
		if stopped != nil {
			t.Run("it finishes its call though the process stood still", func(t *testing.T) {
				must(t, syscall.Kill(stopped.pid, syscall.SIGCONT))
				eventually(t, "the worker is back", func() bool { return len(frozen.workers(t)) == 1 })
				frozen.keepsItsCall(t, stopped, outlasts, gate)
			})
		}
	})
}

// A lease is not over just because Redis did not answer for longer than it lasts.
func TestCallsOutlastARedisThatStandsStill(t *testing.T) {
	usual(t)
	t.Parallel()
	s := redistest.Start(t)
	e := newEnv(t, s.URL(), true)
	w := e.worker(t, 2)
	fails, gate := e.held(t, holdAndFail)
	kept, keptGate := e.held(t, hold)
	must(t, s.Pause())
	<-time.After(40 * time.Second)
	must(t, s.Resume())
	e.open(t, gate)
	if _, err := fails.Get(ctx(t)); !errors.Is(err, errStock) {
		t.Errorf("the call ended with %v, want its own error", err)
	}
	e.archives(t, 1, metronome(t))
	e.keepsItsCall(t, w, kept, keptGate)
}
