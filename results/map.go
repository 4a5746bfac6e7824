package results

import (
	"cmp"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/wire"
)

// MapResult is the handle on a job of many calls: what Python's Pool.map_async
// and Pool.starmap_async return. In its methods Value is []R. It is safe for concurrent
// use. Dropping it does not stop the calls.
type MapResult[R any] struct {
	handle[[]R]
	decode Decoder[R]
}

// NewMapResult makes the handle on a job of any number of calls. It is called by
// package producer: use producer.MapAsync, producer.StarmapAsync or
// producer.AttachMap.
func NewMapResult[R any](hub *await.Hub, job *await.Job, decode Decoder[R]) *MapResult[R] {
	m := &MapResult[R]{handle[[]R]{hub: hub, job: job}, decode}
	m.compute = m.decodeAll
	return m
}

// decodeAll is compute.
func (m *MapResult[R]) decodeAll() ([]R, error) {
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
	chunks := make([]Chunk[R], len(outcomes))
	for chunk := range chunks {
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
		chunks[chunk] = Chunk[R]{values: values[o.First : o.First+o.Calls : o.First+o.Calls], first: o.First}
	}
	if err := m.decodeChunks(chunks, outcomes); err != nil {
		return nil, err
	}
	var failed []*TaskError
	for _, c := range chunks { // by number, so that the failures come in order
		failed = append(failed, c.failed...)
	}
	if len(failed) > 0 {
		return values, &MapError{Task: m.job.Task, Job: m.job.ID, Calls: calls, Errors: failed}
	}
	return values, nil
}

// decodeAlone is how many calls one goroutine decodes sooner than several.
const decodeAlone = 10_000

// decodeChunks decodes the outcomes, those of many calls on all processors. The error is that of the
// first chunk that has one.
func (m *MapResult[R]) decodeChunks(chunks []Chunk[R], outcomes map[int]*wire.Outcome) error {
	var next atomic.Int64
	errs := make([]error, len(chunks))
	work := func() {
		for chunk := int(next.Add(1)) - 1; chunk < len(chunks); chunk = int(next.Add(1)) - 1 {
			errs[chunk] = chunks[chunk].decode(m.job, *outcomes[chunk], m.decode)
		}
	}
	var others sync.WaitGroup
	if m.job.Counts().Calls > decodeAlone {
		for range min(runtime.GOMAXPROCS(0), len(chunks)) - 1 {
			others.Go(work)
		}
	}
	work()
	others.Wait()
	return cmp.Or(errs...)
}
