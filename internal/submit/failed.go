package submit

import (
	"context"
	"errors"
	"fmt"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// The errors of producer.RetryFailed, which exports them.
var (
	ErrNoneFailed    = errors.New("none of its calls failed")
	ErrArgumentsGone = errors.New("the arguments of its failed calls were not kept: a job keeps up to 64 MiB of them, and none of calls that failed only here, since their values cannot be decoded")
	ErrNotOver       = errors.New("it is not over yet")
)

// Failures are the failed calls of a job.
type Failures struct {
	job    job.Snapshot
	Queue  string
	Codec  tasks.ArrayCodec
	Policy call.Policy
	Args   [][]byte // encoded, one for each of Calls
	Calls  []int
	Gone   []int
}

// FailedCalls takes the failed calls out of a job that is over.
func (p *Pool) FailedCalls(ctx context.Context, t Task, id string) (*Failures, error) {
	codec, ok := t.Codec().(tasks.ArrayCodec)
	if !ok {
		return nil, fmt.Errorf("codec %q of task %q cannot split what it has encoded, so the failed calls of a chunk cannot be taken out of it; give it the methods of tasks.ArrayCodec", t.Codec().Name(), t.Name())
	}
	a := names.SplitAddress(id)
	lane, err := p.router.Find(ctx, a.Queue, a.Name)
	if err != nil {
		return nil, err
	}
	snap, err := job.Read(ctx, p.Redis, lane, a.Name)
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
	f := &Failures{job: snap, Queue: a.Queue, Codec: codec}
	if f.Policy, err = call.ParsePolicy(snap.About.Policy); err != nil {
		return nil, err
	}
	err = inspect.New(p.Redis).EachFailedChunk(ctx, id, func(c inspect.FailedChunk) error {
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

// None is the error if there is no call to run again.
func (f *Failures) None() error {
	switch failed := max(len(f.Gone), f.job.Failed); {
	case len(f.Calls) > 0:
		return nil
	case failed > 0:
		return fmt.Errorf("%w (%d calls failed)", ErrArgumentsGone, failed)
	}
	return ErrNoneFailed
}

// add takes the failed calls out of a chunk.
func (f *Failures) add(p *Pool, t Task, c inspect.FailedChunk) error {
	failed := c.Error
	if p.protects(t) {
		frame, err := p.openOutcomes(t, refOf(f.Queue, f.job.Ref), c.Chunk, c.OutcomeFrame)
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
			f.Gone = append(f.Gone, c.First+e.Call)
		}
		return nil
	}
	data, err := p.openArguments(t, f.job, f.Queue, c)
	if err != nil {
		return err
	}
	items, err := f.Codec.Split(data)
	if err == nil && len(items) != c.Calls {
		err = fmt.Errorf("%d arguments for %d calls; the record of the job is damaged", len(items), c.Calls)
	}
	if err != nil {
		return err
	}
	for _, e := range failed {
		f.Calls = append(f.Calls, c.First+e.Call)
		f.Args = append(f.Args, items[e.Call])
	}
	return nil
}
