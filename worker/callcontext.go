package worker

import (
	"context"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/nested"
)

// callContext is the context of one call: its chunk's, with what there is to know of
// the call, and its slot. It is one small piece of memory, since some calls take less
// time than making three; and what it knows is put together when somebody asks. It
// may outlive the call, so each has its own.
type callContext struct {
	context.Context
	slot     callSlot
	number   int // of the call, in its chunk
	attempts int // before this one
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
