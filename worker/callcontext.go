package worker

import (
	"context"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/nested"
)

// contextsAtOnce is how many contexts of calls are one piece of memory.
const contextsAtOnce = 32

// callContext is the context of one call: its chunk's, with what there is to know of
// the call, and its slot. What it knows is put together when somebody asks. It may
// outlive the call, so each has its own; but since some calls take less time than
// making one, those of a chunk are made by the dozen. A task that keeps one keeps 2 KiB.
type callContext struct {
	context.Context
	slot     callSlot
	number   int // of the call, in its chunk
	attempts int // before this one
}

// callContext makes the context of call i.
func (r *chunkRun) callContext(i, attempts int) *callContext {
	if len(r.contexts) == 0 {
		r.contexts = make([]callContext, max(1, min(contextsAtOnce, r.calls-i)))
	}
	c := &r.contexts[0]
	r.contexts = r.contexts[1:]
	c.Context, c.number, c.attempts = r.ctx, i, attempts
	c.slot.run, c.slot.call = r, int32(r.first+i)
	return c
}

// Value returns the call's own values, and those of the chunk's context.
func (c *callContext) Value(key any) any {
	switch key.(type) {
	case call.InfoKey:
		return c.slot.run.info(c.number, c.attempts)
	case nested.Key:
		return &c.slot
	}
	return c.Context.Value(key)
}
