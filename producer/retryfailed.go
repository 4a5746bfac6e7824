package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

var (
	// ErrNoneFailed says that no call of the job failed, so there is nothing to
	// run again.
	ErrNoneFailed = errors.New("none of its calls failed")
	// ErrArgumentsGone says that the job has failed calls, and the arguments of
	// none of them were kept.
	ErrArgumentsGone = errors.New("the arguments of its failed calls were not kept: a job keeps up to 64 MiB of them, and none of calls that failed only here, since their values cannot be decoded")
	// ErrNotOver says that the job is not over, so that more of its calls may fail.
	ErrNotOver = errors.New("it is not over yet")
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
	f, err := p.failedCalls(ctx, t, id)
	if err == nil {
		err = addUndecodable(ctx, p, t, id, f)
	}
	if err == nil {
		err = f.none()
	}
	if err != nil {
		return nil, fmt.Errorf("retrying the failed calls of job %s: %w", id, err)
	}
	o, err := p.options(append([]Option{f.asBefore}, opts...), false)
	if err != nil {
		return nil, err
	}
	o.origin.Verb = observe.Map
	retried, err := p.submit(ctx, t, o, len(f.args), func(lo, hi int, _ call.Reads) ([]byte, error) { return f.codec.Join(f.args[lo:hi]) })
	if err != nil {
		return nil, fmt.Errorf("retrying the failed calls of job %s: %w", id, err)
	}
	return &Retried[R]{results.NewMapResult(p.hub, retried, decoder(t)), id, f.calls, f.gone}, nil
}

// failures are the failed calls of a job.
type failures struct {
	job    job.Snapshot
	queue  string
	codec  tasks.ArrayCodec
	policy call.Policy
	args   [][]byte // encoded, one for each of calls
	calls  []int
	gone   []int
}

// asBefore is an Option: run as the job that these are from.
func (f *failures) asBefore(o *options) error {
	o.queue, o.policy = f.queue, f.policy
	return nil
}

func (p *pool) failedCalls(ctx context.Context, t erasedTask, id string) (*failures, error) {
	codec, ok := t.Codec().(tasks.ArrayCodec)
	if !ok {
		return nil, fmt.Errorf("codec %q of task %q cannot split what it has encoded, so the failed calls of a chunk cannot be taken out of it; give it the methods of tasks.ArrayCodec", t.Codec().Name(), t.Name())
	}
	a := names.SplitAddress(id)
	lane, err := p.router.Find(ctx, a.Queue, a.Name)
	if err != nil {
		return nil, err
	}
	snap, err := job.Read(ctx, p.rdb, lane, a.Name)
	if err == nil && snap.State == job.Gone {
		err = results.ErrUnknownJob
	}
	if err == nil {
		err = fits(snap, t)
	}
	if err == nil && !snap.State.Ended() {
		err = fmt.Errorf("%w: %d of %d calls are; wait for the others, or cancel it", ErrNotOver, snap.Done, snap.Calls)
	}
	if err == nil {
		err = p.trust(snap, a.Queue)
	}
	if err != nil {
		return nil, err
	}
	f := &failures{job: snap, queue: a.Queue, codec: codec}
	if f.policy, err = call.ParsePolicy(snap.About.Policy); err != nil {
		return nil, err
	}
	err = inspect.New(p.rdb).EachFailedChunk(ctx, id, func(c inspect.FailedChunk) error {
		if err := f.add(p, t, c); err != nil {
			return fmt.Errorf("chunk %d: %w", c.Chunk, err)
		}
		return nil
	})
	if errors.Is(err, inspect.ErrNoJob) {
		err = results.ErrUnknownJob
	}
	return f, err
}

// addUndecodable adds the calls to f.gone that failed only here.
func addUndecodable[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], id string, f *failures) error {
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
	for _, i := range slices.Concat(f.calls, f.gone) {
		known[i] = true
	}
	for i, o := range m.AsCompleted(ctx) {
		// The index -1 ends the loop early: outcomes behind it cannot be read by anybody.
		if i >= 0 && o.Err != nil && !known[i] {
			f.gone = append(f.gone, i)
		}
	}
	slices.Sort(f.gone)
	return nil
}

// none is the error if there is no call to run again.
func (f *failures) none() error {
	switch failed := max(len(f.gone), f.job.Failed); {
	case len(f.calls) > 0:
		return nil
	case failed > 0:
		return fmt.Errorf("%w (%d calls failed)", ErrArgumentsGone, failed)
	}
	return ErrNoneFailed
}

// add takes the failed calls out of a chunk.
func (f *failures) add(p *pool, t erasedTask, c inspect.FailedChunk) error {
	failed := c.Error
	if p.protects(t) {
		frame, err := p.openOutcomes(t, refOf(f.queue, f.job.Ref), f.queue, c.Chunk, c.OutcomeFrame)
		if err != nil {
			return err
		}
		o, err := wire.ParseOutcome(frame)
		if err != nil {
			return err
		}
		failed = o.Errors
	}
	if c.Args == nil {
		for _, e := range failed {
			f.gone = append(f.gone, c.First+e.Call)
		}
		return nil
	}
	data, err := p.openArguments(t, f.job, f.queue, c)
	if err != nil {
		return err
	}
	items, err := f.codec.Split(data)
	if err == nil && len(items) != c.Calls {
		err = fmt.Errorf("%d arguments for %d calls; the record of the job is damaged", len(items), c.Calls)
	}
	if err != nil {
		return err
	}
	for _, e := range failed {
		f.calls = append(f.calls, c.First+e.Call)
		f.args = append(f.args, items[e.Call])
	}
	return nil
}
