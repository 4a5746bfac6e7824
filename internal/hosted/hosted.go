// Package hosted lets package asynqhandler have a worker whose deliveries an asynq.Server takes.
// What it needs travels in the context of worker.Run, so that it is no part of what worker exports.
package hosted

import "context"

// Worker is a worker that serves, for the asynq.Server that takes its deliveries.
type Worker struct {
	Queues map[string]int // the lanes of its queues, with the weights of these
	// Deliver deals with a delivery that the server has taken, until the server gives it up: then
	// ctx ends. Without an error the delivery is done, with an Archived it is archived, with any
	// other it is to come again.
	Deliver func(ctx context.Context, lane, taskID, task string) error
}

type key struct{}

// With returns a context with which worker.Run takes no deliveries itself. It calls serves, which
// must not block, once it serves.
func With(ctx context.Context, serves func(Worker)) context.Context {
	return context.WithValue(ctx, key{}, serves)
}

// From returns what With was given; nil: the worker takes its deliveries itself.
func From(ctx context.Context) func(Worker) {
	serves, _ := ctx.Value(key{}).(func(Worker))
	return serves
}

// Archived is the error of a delivery that asynq is to archive, with this text.
type Archived string

// Error is the text.
func (e Archived) Error() string { return string(e) }
