package worker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/execute"
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
	w.executor.Observers, w.executor.Debug = o, w.debug
}

// delivered tells what came of a delivery.
func (w *worker) delivered(ctx context.Context, t *asynq.Task, d wire.Delivery, v observe.Verdict, b *record.Begun) {
	if w.watcher == nil {
		return
	}
	queue, _ := asynq.GetQueueName(ctx)
	o := observe.Delivery{Job: d.Job, Chunk: d.Chunk, Task: t.Type(), Queue: queue, Number: d.Number, Verdict: v}
	if v == observe.Run || v == observe.Lost {
		o.Deaths = deaths(*b)
	}
	if v == observe.Run && o.Deaths == 0 && len(b.Partial) == 0 && d.Number == 1 && d.At > 0 {
		o.Waited, o.Wait = true, max(0, time.Since(time.UnixMilli(d.At)))
	}
	w.watcher.Deliver(o)
	if w.debug {
		w.log.Debug("a delivery", "job", o.Job, "chunk", o.Chunk, "task", o.Task, "queue", o.Queue, "delivery", o.Number, "verdict", v, "wait", o.Wait)
	}
}

// executeWatched is execute, with observers looking on.
func (r *chunkRun) executeWatched(b record.Begun) error {
	o := r.worker.watcher
	if o == nil {
		return r.execute(b)
	}
	c := &observe.Chunk{
		Job: r.delivery.Job, Chunk: r.delivery.Chunk, Task: r.task, Queue: r.queue, Worker: r.worker.self.ID,
		Number: r.delivery.Number, Headers: decodeHeaders(b.Headers),
	}
	r.ctx = o.BeginChunk(r.ctx, c)
	r.watched = c
	err := r.execute(b)
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
	_, calls := r.calls()
	failures := r.failures()
	end := observe.ChunkEnd{Fate: r.fate, Calls: calls}
	switch {
	case r.fate == "":
		end.Fate, end.Err = observe.ChunkRefused, err
	case len(failures) > 0:
		end.Failed = map[string]int{}
		for _, e := range failures {
			end.Failed[string(e.Kind)]++
		}
		end.Err = errors.New(r.summary(execute.Truncate(failures[0].Message, 1000)))
	case r.fate != observe.ChunkRecorded && r.ctx.Err() != nil:
		end.Err = context.Cause(r.ctx)
	}
	o.EndChunk(r.ctx, c, end)
	if r.worker.debug {
		r.logger().DebugContext(r.ctx, "a chunk ended", "queue", r.queue, "delivery", r.delivery.Number,
			"fate", end.Fate, "calls", end.Calls, "failed", len(failures), "took", time.Since(r.started))
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
