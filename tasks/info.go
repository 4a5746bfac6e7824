package tasks

import (
	"context"

	"github.com/distpool/distpool/internal/call"
)

// CallInfo says which call a task's function is running, and where.
type CallInfo struct {
	// Task is the name of the task.
	Task string
	// Job is the ID of the job that the call belongs to, QUEUE/NAME.
	Job string
	// Call is the index of the call in the job, counted from 0.
	Call int
	// Calls is the number of calls in the job. It is -1 in a stream, which does not
	// know how many it will have.
	Calls int
	// Chunk is the index of the chunk in the job, counted from 0.
	Chunk int
	// Attempt is 1 in the first try and one more after each failed one.
	Attempt int
	// Delivery is 1 in the first delivery of the chunk. More means that the
	// chunk was delivered again: a worker died with it, or seemed to. The call
	// may then have run before, to its end or in part.
	Delivery int
	// Worker identifies the worker that runs the call.
	Worker string
	// Queue is the queue that the call came from.
	Queue string
}

// Info returns what ctx, the context given to a task's function, knows about
// the call. Outside of a worker it is the zero CallInfo; a call in a worker has
// an Attempt of at least 1.
func Info(ctx context.Context) CallInfo {
	info, _ := ctx.Value(call.InfoKey{}).(CallInfo)
	return info
}

// WithInfo returns a context that makes [Info] return info. Workers call it, and
// so may a test of a task's function.
func WithInfo(ctx context.Context, info CallInfo) context.Context {
	return context.WithValue(ctx, call.InfoKey{}, info)
}
