package execute

import (
	"context"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/tasks"
)

// contextsAtOnce is how many contexts of calls are one piece of memory.
const contextsAtOnce = 32

// callContext is the context of one call: its chunk's, with the call's description and its
// slot. The description is put together when it is asked for. A context may
// outlive its call, so each call has its own; but since some calls take less time than
// making one, those of a chunk are made by the dozen. A task that keeps one keeps 2 KiB.
type callContext struct {
	context.Context
	slot     callSlot
	number   int // of the call, in its chunk
	attempts int // before this one
}

// contexts are those of calls to come.
type contexts []callContext

// next makes the context of call i.
func (cs *contexts) next(r *Run, i, attempts int) *callContext {
	if len(*cs) == 0 {
		*cs = make([]callContext, max(1, min(contextsAtOnce, r.calls-i)))
	}
	c := &(*cs)[0]
	*cs = (*cs)[1:]
	c.Context, c.number, c.attempts = r.ctx, i, attempts
	c.slot.run, c.slot.call = r, int32(r.first+i)
	return c
}

// Value returns the call's own values, and those of the chunk's context.
func (c *callContext) Value(key any) any {
	switch key.(type) {
	case call.InfoKey:
		return c.info()
	case nested.Key:
		return &c.slot
	}
	return c.Context.Value(key)
}

func (c *callContext) info() tasks.CallInfo {
	r := c.slot.run
	calls := r.chunk.Total
	if r.policy.Stream {
		calls = -1
	}
	return tasks.CallInfo{
		Task: r.chunk.Task, Job: r.chunk.Job, Call: r.first + c.number, Calls: calls, Chunk: r.chunk.Number,
		Attempt: c.attempts + 1, Delivery: r.number, Worker: r.on.Worker, Queue: r.chunk.Queue,
	}
}
