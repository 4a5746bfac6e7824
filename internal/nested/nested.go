// Package nested lets a wait for a job know that it is made by a call, which
// holds a slot of a worker meanwhile. The worker puts a Slot into the context of
// each call; the waits of packages results and producer enter it.
package nested

import (
	"context"
	"errors"
)

// ErrNoSlot is results.ErrNoSlot.
var ErrNoSlot = errors.New("no slot for a nested job")

// Job is what is waited for.
type Job struct {
	ID    string
	Task  string
	Queue string
}

// Slot is what a call holds. It is safe for concurrent use.
type Slot interface {
	// Enter is called before a wait for the job. leave must be called after it.
	// While it lasts, jam may deliver one error: nobody will ever run the job.
	Enter(Job) (jam <-chan error, leave func())
}

// Key is the key under which the context of a call has its Slot.
type Key struct{}

// Enter is called before a wait for the job, with the context that bounds the
// wait. Outside of a call jam is nil.
func Enter(ctx context.Context, j Job) (jam <-chan error, leave func()) {
	if s, ok := ctx.Value(Key{}).(Slot); ok {
		return s.Enter(j)
	}
	return nil, func() {}
}
