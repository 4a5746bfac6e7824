package results

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/await"
)

// MapResult is the handle on a job of many calls: what Python's Pool.map_async
// and Pool.starmap_async return. It is safe for concurrent use. Dropping it does
// not stop the calls.
type MapResult[R any] struct {
	handle
	decode Decoder[R]

	once   sync.Once // guards the computation of values and err
	values []R
	err    error
}

// NewMapResult makes the handle on a job of any number of calls. It is called by
// package producer: use producer.MapAsync, producer.StarmapAsync or
// producer.AttachMap.
func NewMapResult[R any](hub *await.Hub, job *await.Job, decode Decoder[R]) *MapResult[R] {
	return &MapResult[R]{handle: handle{hub, job}, decode: decode}
}

// Get waits until every call is over, and returns the values in the order of
// the arguments. When calls failed, the error is a *MapError that lists them,
// and the other values are there all the same, the failed calls' places holding
// the zero value. ErrCanceled, ErrExpired, ErrCorrupt and ErrClosed (matched with errors.Is)
// say that there will be no outcomes; then the slice is nil. When ctx ends
// first, Get returns what Wait does, and may be called again. Every Get returns
// the same slice.
func (m *MapResult[R]) Get(ctx context.Context) ([]R, error) {
	if err := m.Wait(ctx); err != nil {
		return nil, err
	}
	return m.result()
}

// GetTimeout is Get with a time limit: ErrTimeout when not every call is over in
// time. The job goes on, and getting it again is fine. A limit of zero or less
// asks whether the values are there now.
func (m *MapResult[R]) GetTimeout(d time.Duration) ([]R, error) {
	if err := m.waitFor(d); err != nil {
		return nil, err
	}
	return m.result()
}

// Successful reports whether every call returned without an error. Before the
// result is ready it returns ErrNotReady.
func (m *MapResult[R]) Successful() (bool, error) {
	if !m.Ready() {
		return false, fmt.Errorf("%s: %w", m.describe(), ErrNotReady)
	}
	_, err := m.result()
	return err == nil, nil
}

// OnSuccess runs f with all values once every call has returned without an
// error. The slice is the one that Get returns, not a copy. Everything else is as for
// AsyncResult.OnSuccess.
func (m *MapResult[R]) OnSuccess(f func([]R)) {
	m.job.OnSettle(func() {
		if v, err := m.result(); err == nil {
			f(v)
		}
	})
}

// OnError runs f with the error that Get returns, once every call is over and
// one has failed, or once it is known that there will be no outcomes. Everything
// else is as for AsyncResult.OnSuccess.
func (m *MapResult[R]) OnError(f func(error)) {
	m.job.OnSettle(func() {
		if _, err := m.result(); err != nil {
			f(err)
		}
	})
}

// result is what the settled job comes to.
func (m *MapResult[R]) result() ([]R, error) {
	m.once.Do(func() {
		m.values, m.err = m.compute()
		m.logCorrupt(m.err)
	})
	return m.values, m.err
}

func (m *MapResult[R]) compute() ([]R, error) {
	if err := m.job.Err(); err != nil {
		return nil, m.about(err)
	}
	outcomes := m.job.Outcomes()
	calls := 0
	for _, o := range outcomes {
		calls += o.Calls
	}
	if calls != m.job.Counts().Calls {
		return nil, fmt.Errorf("%s: %w: outcomes of %d calls, expected %d", m.describe(), ErrCorrupt, calls, m.job.Counts().Calls)
	}
	values := make([]R, calls)
	filled := make([]bool, calls)
	var failed []*TaskError
	for chunk := range len(outcomes) { // by number, so that the failures come in order
		o, ok := outcomes[chunk]
		if !ok || o.First+o.Calls > calls {
			return nil, fmt.Errorf("%s: %w: chunk %d of %d is missing or out of place", m.describe(), ErrCorrupt, chunk, len(outcomes))
		}
		for i := range o.Calls {
			if filled[o.First+i] {
				return nil, fmt.Errorf("%s: %w: two outcomes of call %d", m.describe(), ErrCorrupt, o.First+i)
			}
			filled[o.First+i] = true
		}
		c := Chunk[R]{values: values[o.First : o.First+o.Calls : o.First+o.Calls], first: o.First}
		if err := c.decode(m.job, o, m.decode); err != nil {
			return nil, err
		}
		failed = append(failed, c.failed...)
	}
	if len(failed) > 0 {
		return values, &MapError{Task: m.job.Task, Job: m.job.ID, Calls: calls, Errors: failed}
	}
	return values, nil
}
