package results

import (
	"fmt"

	"github.com/distpool/distpool/internal/await"
)

// AsyncResult is the handle on one call: what Python's Pool.apply_async returns.
// In its methods Value is T.
// It is safe for concurrent use. Dropping it does not stop the call.
type AsyncResult[T any] struct{ handle[T] }

// NewAsyncResult makes the handle on a job of one call. It is called by package
// producer: use producer.ApplyAsync or producer.Attach.
func NewAsyncResult[T any](hub *await.Hub, job *await.Job, decode Decoder[T]) *AsyncResult[T] {
	r := &AsyncResult[T]{handle[T]{hub: hub, job: job}}
	r.compute = func() (T, error) {
		var zero T
		o, ok := job.Outcomes()[0]
		if !ok || o.Calls != 1 || o.First != 0 {
			return zero, fmt.Errorf("%s: %w: no outcome of a single call in it", r.describe(), ErrCorrupt)
		}
		c, err := DecodeChunk(job, *o, decode)
		switch {
		case err != nil:
			return zero, err
		case len(c.failed) > 0:
			return zero, c.failed[0]
		}
		return c.values[0], nil
	}
	return r
}
