package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/observe"
)

// What observers and the debug log are told. Executor.Observers is nil when neither wants to know:
// then none of this runs.

// delivered tells what came of a delivery.
func (r *chunkRun) delivered(v observe.Verdict) {
	h := r.on
	if h.Executor.Observers == nil {
		return
	}
	o := observe.Delivery{Job: r.chunk.Job, Chunk: r.chunk.Number, Task: r.chunk.Task, Queue: r.chunk.Queue, Number: r.Number, Verdict: v}
	if v == observe.Foreign {
		o.Job = ""
	}
	if v == observe.Run || v == observe.Lost {
		o.Deaths = r.chunk.Deaths
	}
	if v == observe.Run && o.Deaths == 0 && len(r.chunk.Partial) == 0 && r.Number == 1 && r.Waited >= 0 {
		o.Waited, o.Wait = true, r.Waited
	}
	h.Executor.Observers.Deliver(o)
	if h.Executor.Debug {
		h.Executor.Log.Debug("a delivery", "job", o.Job, "chunk", o.Chunk, "task", o.Task, "queue", o.Queue, "delivery", o.Number, "verdict", v, "wait", o.Wait)
	}
}

// beginWatched tells that the chunk is going to run.
func (r *chunkRun) beginWatched() {
	if o := r.on.Executor.Observers; o != nil {
		c := &observe.Chunk{
			Job: r.chunk.Job, Chunk: r.chunk.Number, Task: r.chunk.Task, Queue: r.chunk.Queue, Worker: r.on.Executor.Worker,
			Number: r.Number,
		}
		if len(r.about.Headers) > 0 {
			_ = json.Unmarshal(r.about.Headers, &c.Headers) // they are not worth an error
		}
		r.ctx = o.BeginChunk(r.ctx, c)
		r.watched = c
	}
}

// endWatched tells how the chunk has ended; without a fate it was refused, and err says why.
func (r *chunkRun) endWatched(fate observe.ChunkFate, err error) {
	o, c := r.on.Executor.Observers, r.watched
	if o == nil || c == nil {
		return
	}
	_, calls := r.run.Calls()
	failures := r.run.Failures()
	end := observe.ChunkEnd{Fate: fate, Calls: calls}
	switch {
	case fate == "":
		end.Fate, end.Err = observe.ChunkRefused, err
	case len(failures) > 0:
		end.Failed = map[string]int{}
		for _, e := range failures {
			end.Failed[string(e.Kind)]++
		}
		end.Err = errors.New(r.summary(execute.Truncate(failures[0].Message, 1000)))
	case fate != observe.ChunkRecorded && r.ctx.Err() != nil:
		end.Err = context.Cause(r.ctx)
	}
	o.EndChunk(r.ctx, c, end)
	if r.on.Executor.Debug {
		r.log().DebugContext(r.ctx, "a chunk ended", "queue", r.chunk.Queue, "delivery", r.Number,
			"fate", end.Fate, "calls", end.Calls, "failed", len(failures), "took", time.Since(r.started))
	}
}

// end is close for a chunk that ran, with what its observers are told. err is why there are no
// outcomes.
func (r *chunkRun) end(fate observe.ChunkFate, err error) {
	r.endWatched(fate, err)
	r.close()
}
