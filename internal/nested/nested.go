// Package nested lets a wait for a job know that it is made by a call, which holds a slot of a
// worker meanwhile, and finds deadlocks of such waits.
//
// The worker puts a [Slot] into the context of each call; the waits of packages results and
// producer [Enter] it. A wait that lasts is published with the worker's heartbeat
// ([Waits.Lasting]). When every slot that could run the awaited job is held by a call that waits
// like that, the job never runs: a [Detector] finds it out from what all workers publish, and
// fails the wait.
package nested

import (
	"context"
	"errors"
)

// ErrNoSlot is results.ErrNoSlot.
var ErrNoSlot = errors.New("no slot for a nested job")

// Job is what is waited for.
type Job struct {
	ID    string `json:"job"`
	Task  string `json:"task"`
	Queue string `json:"queue"`
}

// Slot is what a call holds. It is safe for concurrent use.
type Slot interface {
	// Enter is called before a wait for the job. leave must be called after it.
	// While it lasts, deadlock may deliver one error: no slot will ever run the job.
	Enter(Job) (deadlock <-chan error, leave func())
}

// Key is the key under which the context of a call has its Slot.
type Key struct{}

// Enter is called before a wait for the job, with the context that bounds the
// wait. Outside of a call deadlock is nil.
func Enter(ctx context.Context, j Job) (deadlock <-chan error, leave func()) {
	if s, ok := ctx.Value(Key{}).(Slot); ok {
		return s.Enter(j)
	}
	return nil, func() {}
}
