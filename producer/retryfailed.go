package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

var (
	// ErrNoneFailed says that no call of the job failed, so there is nothing to
	// run again.
	ErrNoneFailed = submit.ErrNoneFailed
	// ErrArgumentsGone says that the job has failed calls, and the arguments of
	// none of them were kept.
	ErrArgumentsGone = submit.ErrArgumentsGone
	// ErrNotOver says that the job is not over, so that more of its calls may fail.
	ErrNotOver = submit.ErrNotOver
)

// Retried is the handle on a job of the calls that failed in another job. Its
// calls count from 0, in the order in which they were in that job.
type Retried[R any] struct {
	*results.MapResult[R]
	Of    string // ID of the job whose calls these are
	Calls []int  // for each call, its index in that job
	Gone  []int  // indexes in that job of failed calls that are left out, since their arguments were not kept
}

// RetryFailed submits a new job of the calls that failed in the job id (as Attach takes it), with the
// arguments that they had, byte for byte. That job must be over, and stays as it
// is; if it was canceled, the calls that failed before that are taken, and those
// that never ended are not, since their arguments are gone.
//
// The new job goes to the queue of the old one, with its retries and time limits,
// unless options say otherwise. With a Keyring, what was kept is checked before it
// is signed anew.
//
// A record keeps the arguments of failed calls up to 64 MiB, whole chunks at a
// time: Retried.Gone lists calls for which that was not enough. It lists calls, too,
// whose values this program cannot decode: for their worker they succeeded, so their
// arguments were not kept. To find them RetryFailed reads the outcomes of the whole
// job, unless its values are json.RawMessage. A stream (IMap) leaves nothing to retry,
// nor does a job that has expired.
//
// The errors are ErrNoneFailed, ErrArgumentsGone, ErrNotOver,
// results.ErrUnknownJob, results.ErrTaskMismatch when the job is of another task
// or codec, results.ErrUntrusted, and those of a submission. The codec of the task
// must be a tasks.ArrayCodec, as tasks.JSON is.
func RetryFailed[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], id string, opts ...Option) (*Retried[R], error) {
	id, err := p.address(id)
	if err != nil {
		return nil, fmt.Errorf("retrying failed calls: %w", err)
	}
	f, err := p.pool.FailedCalls(ctx, t, id)
	if err == nil {
		err = addUndecodable(ctx, p, t, id, f)
	}
	if err == nil {
		err = f.None()
	}
	if err != nil {
		return nil, fmt.Errorf("retrying the failed calls of job %s: %w", id, err)
	}
	asBefore := func(o *submit.Options) error {
		o.Queue, o.Policy = f.Queue, f.Policy
		return nil
	}
	s, err := p.submit(ctx, t, append([]Option{asBefore}, opts...), false, observe.Map, len(f.Args), func(lo, hi int) ([]byte, error) {
		return f.Codec.Join(f.Args[lo:hi])
	})
	if err != nil {
		return nil, fmt.Errorf("retrying the failed calls of job %s: %w", id, err)
	}
	return &Retried[R]{results.NewMapResult(p.pool.Hub, s.job, submit.Decoder(t)), id, f.Calls, f.Gone}, nil
}

// addUndecodable adds the calls to f.Gone that failed only here.
func addUndecodable[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], id string, f *submit.Failures) error {
	if reflect.TypeFor[R]() == reflect.TypeFor[json.RawMessage]() {
		return nil
	}
	m, err := AttachMap(ctx, p, t, id)
	if err != nil {
		return err
	}
	if err := m.Wait(ctx); err != nil {
		return err
	}
	known := map[int]bool{}
	for _, i := range slices.Concat(f.Calls, f.Gone) {
		known[i] = true
	}
	for i, o := range m.AsCompleted(ctx) {
		// The index -1 ends the loop early: outcomes behind it cannot be read by anybody.
		if i >= 0 && o.Err != nil && !known[i] {
			f.Gone = append(f.Gone, i)
		}
	}
	slices.Sort(f.Gone)
	return nil
}
