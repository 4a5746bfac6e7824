package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// budget is how many workers may die in a chunk before it is given up.
const budget = 3

// noticeBytes is how large outcomes may be to travel inside the notice.
const noticeBytes = 8 << 10

// What a delivery comes to, as far as asynq is concerned. nil ends it.
type (
	// failed ends the delivery as a failure that operators see. asynq must not try
	// again: the outcomes are recorded.
	failed struct{ msg string }
	// later asks for the delivery again after a while. It is not a failure.
	later struct {
		msg   string
		delay time.Duration
	}
)

func (f failed) Error() string        { return f.msg }
func (f failed) Is(target error) bool { return target == asynq.SkipRetry }

func (l later) Error() string { return l.msg }

func isFailure(err error) bool {
	var l later
	return !errors.As(err, &l)
}

// retryDelay is asynq's question after an error, and after a lease that ran out
// because a worker died. asynq counts in seconds, and leaves the rest out (v0.26,
// internal/rdb: Retry): without one more it would come before bringBack.
func retryDelay(_ int, err error, _ *asynq.Task) time.Duration {
	var l later
	if errors.As(err, &l) && l.delay > 0 {
		return l.delay + time.Second - 1
	}
	return 0
}

// deliver handles one delivery: it runs the chunk, unless the record says that
// there is nothing to run.
//
// asynq's context is not given to the calls: asynq cancels it when a lease runs
// out or a timeout of its own passes, and the record is what says whether this
// worker may go on.
func (w *worker) deliver(ctx context.Context, t *asynq.Task) error {
	w.handlers.begin()
	defer w.handlers.end()
	taskID, _ := asynq.GetTaskID(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	d, err := wire.ParseDelivery(t.Payload())
	if of := names.SplitAddress(d.Job).Queue; err == nil && of != queue {
		d, err = wire.Delivery{}, fmt.Errorf("not a distpool delivery of this queue: its job is of queue %q", of)
	}
	if err != nil {
		w.over(taskID)
		w.delivered(ctx, t, d, observe.Foreign, nil)
		return failed{fmt.Sprintf("%v; if another program uses this queue, give it one of its own", err)}
	}
	select {
	case w.slots <- struct{}{}:
	case <-w.calls.Done():
		w.unbegin(d, w.arrived(taskID))
		w.delivered(ctx, t, d, observe.Draining, nil)
		return later{"the worker is shutting down", 0}
	}
	r := &chunkRun{worker: w, delivery: d, taskID: taskID, task: t.Type(), queue: queue, started: time.Now()}
	begun := w.arrived(taskID)
	r.inline = begun != nil && begun.Inline
	defer w.leave(r)
	if _, ok := w.tasks[t.Type()]; !ok {
		elsewhere, err := w.bounces.ask(stranger{t.Type(), r.queue}, w.knownElsewhere)
		if err != nil || len(elsewhere.knowing) > 0 {
			w.unbegin(d, begun)
		}
		switch {
		case err != nil:
			return later{"asking for workers that know the task: " + err.Error(), time.Second}
		case len(elsewhere.knowing) > 0:
			w.delivered(ctx, t, d, observe.Elsewhere, nil)
			wait, ours := w.bounces.next(taskID, elsewhere.ignorant)
			if ours {
				time.AfterFunc(wait, func() { w.bringToOthers(r.queue, d, elsewhere) })
			}
			return later{fmt.Sprintf("worker %s does not know the task; another of the queue does", w.self.ID), wait}
		}
	}
	if !w.enlist(r) {
		// This very worker runs the chunk already. The delivery stays, in case that
		// the worker dies.
		w.delivered(ctx, t, d, observe.Busy, nil)
		return later{"this worker runs the chunk already", 5 * time.Second}
	}
	defer func() {
		if !r.handedOn { // otherwise the finisher does
			w.discharge(r)
		}
	}()
	begun, r.pass, err = w.enter(d, begun)
	defer r.pass.End()
	if err != nil {
		if errors.Is(err, errDraining) {
			w.delivered(ctx, t, d, observe.Draining, nil)
			return later{err.Error(), 0}
		}
		w.delivered(ctx, t, d, observe.Refused, nil)
		return w.condemn(r.logger(), refOf(d), err)
	}
	w.delivered(ctx, t, d, observe.Verdict(begun.Verdict), begun)
	switch begun.Verdict {
	case record.Run, record.Lost:
		return r.executeWatched(*begun)
	case record.Busy:
		// Its owner lives. The delivery stays, in case that the owner dies.
		return later{"worker " + begun.Owner + " runs this chunk already", 5 * time.Second}
	case record.Recorded, record.EndedJob, record.GoneJob:
		return nil
	}
	return nil
}

// leave frees the slot of a chunk whose delivery has been dealt with.
func (w *worker) leave(r *chunkRun) {
	if !r.handedOn { // otherwise it is not over yet
		w.over(r.taskID)
	}
	if r.foreseen {
		w.bell.fetcher.ends.end(r)
	}
	if !r.stuck { // an abandoned call keeps its slot
		<-w.slots
		w.bell.slotFreed()
	}
	if w.bell.fetcher != nil {
		w.bell.fetcher.note(time.Since(r.started))
	}
}

// arrived answers what is known of the chunk of a delivery that has come to the
// handler: nil when it has not been begun.
func (w *worker) arrived(taskID string) *record.Begun {
	if w.bell.fetcher == nil {
		return nil
	}
	return w.bell.fetcher.arrived(taskID)
}

// over says that a delivery is over, as far as this worker is concerned.
func (w *worker) over(taskID string) {
	if w.bell.fetcher != nil {
		w.bell.fetcher.over(taskID)
	}
}

// unbegin gives a chunk back that was begun with its delivery, and that nothing
// became of.
func (w *worker) unbegin(d wire.Delivery, begun *record.Begun) {
	if begun == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := record.Release(ctx, w.rdb, refOf(d), d.Chunk, w.self.ID, nil, 0); err != nil {
		w.log.Warn("giving a chunk back failed; it is taken over once this worker counts as dead", "job", d.Job, "chunk", d.Chunk, "error", err)
	}
}

// refOf is the job of a delivery.
func refOf(d wire.Delivery) record.Ref { return record.Ref{ID: d.Job, Gen: d.Gen} }

// enter begins the chunk, unless it is begun. A chunk whose last attempt this is, after
// the deaths of the workers before, gets the worker to itself: so it harms no other, and
// is not harmed once more by the one that did it. The pass must be ended.
func (w *worker) enter(d wire.Delivery, begun *record.Begun) (b *record.Begun, p *execute.Pass, err error) {
	if begun != nil {
		if p := w.executor.TryShare(); p != nil {
			return begun, p, nil
		}
		// Another chunk runs alone. If it ends this worker, that is not to be blamed on
		// this one: it does not wait as its owner.
		w.unbegin(d, begun)
	}
	p = w.executor.Share()
	b, err = w.begin(d)
	if err != nil || b.Verdict != record.Run || b.Delivery < budget {
		return b, p, err
	}
	// Not as its owner: what happens while we wait is not to be blamed on it.
	_, err = untilAnswered(w, d, "release", func(ctx context.Context) (bool, error) {
		return record.Release(ctx, w.rdb, refOf(d), d.Chunk, w.self.ID, nil, 0)
	})
	if err != nil {
		return b, p, err
	}
	p.End()
	p = w.executor.Alone()
	b, err = w.begin(d)
	return b, p, err
}

// begin asks the record for the chunk, and takes it over from an owner that is
// dead.
func (w *worker) begin(d wire.Delivery) (*record.Begun, error) {
	from := ""
	for {
		b, err := untilAnswered(w, d, "begin", func(ctx context.Context) (record.Begun, error) {
			return record.Begin(ctx, w.shared, refOf(d), d.Chunk, w.self.ID, from, budget)
		})
		if err != nil || b.Verdict != record.Busy || b.Owner == from {
			return &b, err
		}
		// Our own name without the chunk running here: an earlier begin whose reply
		// was lost.
		if b.Owner != w.self.ID {
			alive, err := untilAnswered(w, d, "alive", func(ctx context.Context) (bool, error) {
				return fleet.Alive(ctx, w.rdb, b.Owner)
			})
			if err != nil || alive {
				return &b, err
			}
		}
		from = b.Owner
	}
}

// untilAnswered repeats a request about the delivery's chunk while Redis cannot be reached or is out of
// memory, until the worker gives up its calls.
func untilAnswered[T any](w *worker, d wire.Delivery, what string, f func(context.Context) (T, error)) (T, error) {
	warned := false
	v, err := untilDone(w.calls, func(context.Context) (T, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		v, err := f(ctx)
		if err != nil && !isFinal(err) && !warned {
			warned = true
			w.log.Warn("Redis does not answer; will keep trying", "job", d.Job, "chunk", d.Chunk, "request", what, "error", err)
		}
		return v, err
	})
	if err != nil && w.calls.Err() != nil {
		return v, fmt.Errorf("%s: %w", what, errDraining)
	}
	return v, err
}

// untilDone repeats a request until it succeeds, fails for good, or ctx ends.
func untilDone[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, time.Second
	return backoff.Retry(ctx, func() (T, error) {
		v, err := f(ctx)
		if err != nil && isFinal(err) {
			err = backoff.Permanent(err)
		}
		return v, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
}

// isFinal reports whether the same request would fail again: the record is damaged, or
// not for this version. Any other error, whatever its text, is that of a Redis that does
// not work properly just now.
func isFinal(err error) bool {
	return record.IsCorrupt(err) || record.IsTooLarge(err) || errors.Is(err, errLost) || errors.Is(err, errOver)
}

// condemn ends a job with a damaged record, so that no handle waits for it.
func (w *worker) condemn(log *slog.Logger, job record.Ref, why error) error {
	log.Error("canceling a job whose record is damaged", "error", why)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := record.Condemn(ctx, w.rdb, job, why); err != nil {
		log.Error("canceling it failed", "error", err)
	}
	return failed{execute.Truncate(why.Error(), execute.MaxMessage)}
}

// enlist notes that the chunk runs here; false when it does already.
func (w *worker) enlist(r *chunkRun) bool {
	r.ctx, r.cancel = context.WithCancelCause(w.calls)
	k := chunkKey{refOf(r.delivery), r.delivery.Chunk}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.running[k]; ok {
		r.cancel(nil)
		return false
	}
	w.running[k] = r
	return true
}

// bringBack returns a delivery that was to wait to its queue, and rings. asynq does so
// too, but only looks each few seconds; it is there for when this worker dies.
func (w *worker) bringBack(queue string, d wire.Delivery, ring func(context.Context)) {
	// asynq puts the delivery into its retry set a moment after the handler has
	// returned, so the first try may come too early.
	every := backoff.NewExponentialBackOff()
	every.InitialInterval, every.MaxInterval = 5*time.Millisecond, 100*time.Millisecond
	_, err := backoff.Retry(w.calls, func() (struct{}, error) {
		return struct{}{}, w.inspector.RunTask(queue, d.TaskID())
	}, backoff.WithBackOff(every), backoff.WithMaxElapsedTime(2*time.Second))
	if err != nil {
		return // asynq brings it back
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	ring(ctx)
}

// ring wakes so many idle workers of the queue.
func (w *worker) ring(ctx context.Context, queue string, n int) {
	_ = record.Ring(queue, n).Run(ctx, w.rdb).Err() // without, they look within seconds
}

// notReturned notes that Redis took neither the chunk's outcomes nor what was left of it,
// if the worker drains: otherwise the delivery may well come back to it.
func (w *worker) notReturned(r *chunkRun) {
	if !w.draining.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unreturned[chunkKey{refOf(r.delivery), r.delivery.Chunk}] = true
}

// discharge removes the chunk from those that run here.
func (w *worker) discharge(r *chunkRun) {
	r.cancel(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, chunkKey{refOf(r.delivery), r.delivery.Chunk})
}
