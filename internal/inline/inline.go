// Package inline lets package pooltest have a say in the submissions of a pool.
// The hook travels in the context of producer.Open, so that it is no part of
// what producer exports, and no global variable either.
package inline

import "context"

// Hook is told of every submission of a pool. A nil Hook does nothing.
type Hook struct {
	// Before runs before anything is sent. Its error refuses the submission.
	Before func(ctx context.Context) error
	// After runs once the job is in Redis, and before its handle is returned. over
	// closes when the job is over.
	After func(ctx context.Context, over <-chan struct{})
}

type key struct{}

// With returns a context with which producer.Open makes a pool that has the hook.
func With(ctx context.Context, h *Hook) context.Context { return context.WithValue(ctx, key{}, h) }

// From returns the context's hook, nil when it has none.
func From(ctx context.Context) *Hook {
	h, _ := ctx.Value(key{}).(*Hook)
	return h
}

// Submitting is called at the start of a submission.
func (h *Hook) Submitting(ctx context.Context) error {
	if h == nil {
		return nil
	}
	return h.Before(ctx)
}

// Submitted is called when the job is in Redis.
func (h *Hook) Submitted(ctx context.Context, over <-chan struct{}) {
	if h != nil {
		h.After(ctx, over)
	}
}
