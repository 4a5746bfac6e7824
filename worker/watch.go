package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// What observers and the debug log are told. worker.watcher is nil when neither
// wants to know: then none of this runs.

// workerState implements observe.WorkerState.
type workerState struct{ w *worker }

func (s *workerState) ID() string             { return s.w.self.ID }
func (s *workerState) Tasks() []string        { return s.w.self.Tasks }
func (s *workerState) Queues() map[string]int { return s.w.cfg.Queues }
func (s *workerState) Slots() int             { return cap(s.w.slots) }
func (s *workerState) Busy() int              { return len(s.w.slots) }
func (s *workerState) Draining() bool         { return s.w.draining.Load() }

// watchBy has the worker tell o, which may be nil, and its debug log.
func (w *worker) watchBy(o *observers.Worker) {
	w.debug = w.log.Enabled(context.Background(), slog.LevelDebug)
	if o == nil && w.debug {
		o = &observers.Worker{}
	}
	w.watcher = o
}

// delivered tells what came of a delivery.
func (w *worker) delivered(ctx context.Context, t *asynq.Task, d wire.Delivery, v observe.Verdict, b *record.Begun) {
	if w.watcher == nil {
		return
	}
	queue, _ := asynq.GetQueueName(ctx)
	o := observe.Delivery{Job: d.Job, Chunk: d.Chunk, Task: t.Type(), Queue: queue, Number: d.Number, Verdict: v}
	switch v {
	case observe.Run:
		o.Deaths = b.Delivery - 1
	case observe.Lost:
		o.Deaths = b.Delivery
	default:
	}
	if v == observe.Run && o.Deaths == 0 && len(b.Partial) == 0 && d.Number == 1 && d.At > 0 {
		o.Waited, o.Wait = true, max(0, time.Since(time.UnixMilli(d.At)))
	}
	w.watcher.Deliver(o)
	if w.debug {
		w.log.Debug("a delivery", "job", o.Job, "chunk", o.Chunk, "task", o.Task, "queue", o.Queue, "delivery", o.Number, "verdict", v, "wait", o.Wait)
	}
}

// runWatched is run, with observers looking on.
func (r *chunkRun) runWatched(b record.Begun) error {
	o := r.worker.watcher
	if o == nil {
		return r.run(b)
	}
	c := &observe.Chunk{
		Job: r.delivery.Job, Chunk: r.delivery.Chunk, Task: r.task, Queue: r.queue, Worker: r.worker.self.ID,
		Number: r.delivery.Number, Headers: decodeHeaders(b.Headers),
	}
	r.ctx = o.BeginChunk(r.ctx, c)
	r.watched = c
	err := r.run(b)
	if !r.handedOn { // otherwise the finisher says how it ends
		r.endWatched(err)
	}
	return err
}

// endWatched tells how the chunk has ended. err is what asynq is told of it.
func (r *chunkRun) endWatched(err error) {
	o, c := r.worker.watcher, r.watched
	if o == nil || c == nil {
		return
	}
	end := observe.ChunkEnd{Fate: r.fate, Calls: r.calls}
	switch {
	case r.fate == "":
		end.Fate, end.Err = observe.ChunkRefused, err
	case len(r.errors) > 0:
		end.Failed = map[string]int{}
		for _, e := range r.errors {
			end.Failed[string(e.Kind)]++
		}
		end.Err = fmt.Errorf("%d of %d calls failed; call %d: %s", len(r.errors), r.calls, r.first+r.errors[0].Call, truncate(r.errors[0].Message, 1000))
	case r.fate != observe.ChunkRecorded && r.ctx.Err() != nil:
		end.Err = context.Cause(r.ctx)
	}
	o.EndChunk(r.ctx, c, end)
	if r.worker.debug {
		r.logger().DebugContext(r.ctx, "a chunk ended", "queue", r.queue, "delivery", r.delivery.Number,
			"fate", end.Fate, "calls", end.Calls, "failed", len(r.errors), "took", time.Since(r.started))
	}
}

// decodeHeaders reads what a submission's observers gave the job. They are not
// worth an error.
func decodeHeaders(s string) map[string]string {
	var headers map[string]string
	if s != "" {
		_ = json.Unmarshal([]byte(s), &headers)
	}
	return headers
}

// watchedCall is the current call as observers know it.
type watchedCall struct {
	observers.Call
	began time.Time
}

// beginCall tells that the current call begins, and returns the context for it. It goes
// on with w, if an observer ended the goroutine that told of it.
func (r *chunkRun) beginCall(ctx context.Context, d *round, watcher *observers.Worker, w *watchedCall) context.Context {
	if w == nil {
		w = &watchedCall{Call: observers.Call{Context: ctx, Call: &observe.Call{
			Job: r.delivery.Job, Chunk: r.delivery.Chunk, Call: r.first + d.current, Task: r.task, Queue: r.queue,
			Worker: r.worker.self.ID, Attempt: d.tries + 1,
		}}}
	}
	d.telling = w
	watcher.BeginCall(&w.Call)
	w.began = time.Now()
	d.watched.Store(w)
	return w.Context
}

// endCall tells how the current call ended, if that has not been told.
func (r *chunkRun) endCall(d *round, e *ending) {
	if w := d.watched.Swap(nil); w != nil {
		d.telling = w
		r.tellEnd(w, e.result, e.err)
	}
}

// endGivenUp is endCall for a call that passed its HardTimeout.
func (r *chunkRun) endGivenUp(d *round, err error) {
	w := d.watched.Swap(nil)
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for again := guard.ErrGoexit; again == guard.ErrGoexit; {
		again = guard.Apart(ctx, func() error {
			r.tellEnd(w, observe.CallTimeout, err)
			return nil
		})
	}
}

func (r *chunkRun) tellEnd(w *watchedCall, result observe.CallResult, err error) {
	end := observe.CallEnd{Result: result, Err: err, Took: time.Since(w.began)}
	r.worker.watcher.EndCall(&w.Call, end)
	if !r.worker.debug {
		return
	}
	attrs := []any{"call", w.Call.Call.Call, "attempt", w.Attempt, "result", result, "took", end.Took}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	r.logger().DebugContext(w.Context, "a call ended", attrs...)
}
