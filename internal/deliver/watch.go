package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

// What observers and the debug log are told. Executor.Observers is nil when neither wants to know:
// then none of this runs.

// delivered tells what came of a delivery.
func (r *chunkRun) delivered(v observe.Verdict, t job.Taken) {
	h := r.on
	if h.Executor.Observers == nil {
		return
	}
	o := observe.Delivery{Job: r.id, Chunk: r.Delivery.Chunk, Task: r.about.Task, Queue: r.queue, Number: r.Number, Verdict: v}
	if v == observe.Foreign {
		o.Job = ""
	}
	if v == observe.Run || v == observe.Lost {
		o.Deaths = t.Deaths
	}
	if v == observe.Run && o.Deaths == 0 && len(t.Part) == 0 && r.Number == 1 && t.Waited >= 0 {
		o.Waited, o.Wait = true, t.Waited
	}
	h.Executor.Observers.Deliver(o)
	if h.Executor.Debug {
		h.Executor.Log.Debug("a delivery", "job", o.Job, "chunk", o.Chunk, "task", o.Task, "queue", o.Queue, "delivery", o.Number, "verdict", v, "wait", o.Wait)
	}
}

// executeWatched is execute, with observers looking on.
func (r *chunkRun) executeWatched(t job.Taken) {
	if o := r.on.Executor.Observers; o != nil {
		c := &observe.Chunk{
			Job: r.id, Chunk: r.Delivery.Chunk, Task: r.about.Task, Queue: r.queue, Worker: r.on.Executor.Worker,
			Number: r.Number, Headers: decodeHeaders(r.about.Headers),
		}
		r.ctx = o.BeginChunk(r.ctx, c)
		r.watched = c
	}
	r.execute(t)
}

// endWatched tells how the chunk has ended. err is why it was refused.
func (r *chunkRun) endWatched(err error) {
	o, c := r.on.Executor.Observers, r.watched
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
	if r.on.Executor.Debug {
		r.logger().DebugContext(r.ctx, "a chunk ended", "queue", r.queue, "delivery", r.Number,
			"fate", end.Fate, "calls", end.Calls, "failed", len(failures), "took", time.Since(r.started))
	}
}

// decodeHeaders reads what a submission's observers gave the job. They are not
// worth an error.
func decodeHeaders(data json.RawMessage) map[string]string {
	var headers map[string]string
	if len(data) > 0 {
		_ = json.Unmarshal(data, &headers)
	}
	return headers
}
