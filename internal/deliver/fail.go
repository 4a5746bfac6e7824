package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/secure"
)

const (
	// askTime bounds what is not worth more than some tries.
	askTime = 5 * time.Second
	// tryTime bounds one try of what is repeated.
	tryTime = 10 * time.Second
)

var (
	// errLost says that the arguments of a chunk that is to run are not there.
	errLost = errors.New("arguments that its record refers to are not there; does Redis evict keys (maxmemory-policy)?")
	// errCut says that the end of a job's submission is not there.
	errCut = errors.New("the end of what was submitted is not there")
	// errOver says that a chunk was over before its arguments could be read: its job
	// has ended, or another worker that took it over has recorded it.
	errOver = errors.New("the chunk is over")
	// errDamaged says that a script found a record damaged.
	errDamaged = errors.New("its record contradicts itself")
	// errUnstored says that Redis has lost a large frame before it became the job's.
	errUnstored = errors.New("what was just stored is not there")
)

// isFinal reports whether the same request would fail again: the record is damaged, or
// not for this version. Any other error, whatever its text, is that of a Redis that does
// not work properly just now.
func isFinal(err error) bool {
	return job.IsDamaged(err) || job.IsTooLarge(err) || errors.Is(err, errLost) || errors.Is(err, errOver) || errors.Is(err, errDamaged)
}

// fail ends a delivery whose calls did not all run, or whose outcomes were not recorded. Unless there
// is a reason for which the chunk is not to be run any more, it is given back.
func (r *chunkRun) fail(why error) {
	switch {
	case errors.Is(why, errJobEnded), errors.Is(why, errOver):
		r.drop(observe.ChunkCanceled)
	case errors.Is(why, errNotOurs):
		r.drop(observe.ChunkTaken)
	case errors.Is(why, errLost), errors.Is(why, errCut):
		r.log().Error("canceling a job whose arguments were lost", "error", why)
		r.doom(job.Missing, fmt.Errorf("chunk %d: %w", r.Chunk, why))
	case isFinal(why):
		r.condemn(why)
	default:
		r.giveBack(time.Time{})
	}
}

// drop ends a delivery whose chunk is not to be run any more, or not by this worker. The record
// knows that the job is over, or the chunk another worker's; if it is not, the chunk is given back.
func (r *chunkRun) drop(fate observe.ChunkFate) {
	r.try("ending a delivery", func(ctx context.Context) error {
		_, err := r.send(ctx, r.returned(nil, 0, job.Head))
		return err
	})
	r.end(fate, nil)
}

// condemn ends a job whose record is damaged, so that no handle waits for it, and the delivery.
func (r *chunkRun) condemn(why error) {
	r.log().Error("canceling a job whose record is damaged", "error", why)
	r.doom(job.Corrupt, why)
}

// doom ends the job for the reason, if its record lets it, and the delivery, where operators see why.
func (r *chunkRun) doom(reason job.State, why error) {
	r.cancelJob(reason.Because(why.Error()))
	r.dismiss(execute.Truncate(why.Error(), execute.MaxMessage))
	r.end("", why)
}

// distrust ends a job whose signature is missing or wrong.
func (r *chunkRun) distrust(why error) {
	h := r.on
	refusal := secure.Refusal{Job: r.chunk.Job, Chunk: r.chunk.Number, Task: r.chunk.Task, Queue: r.chunk.Queue}
	var e *signing.Error
	if errors.As(why, &e) {
		refusal.What, refusal.Reason, refusal.Key = e.What, e.Reason, e.Key
	}
	r.log().Error("refusing a job because of its signature", "reason", refusal.Reason, "error", why)
	if h.OnRefused != nil {
		guard.Callback(h.Executor.Log, "Config.OnRefused", func() { h.OnRefused(refusal) })
	}
	r.doom(job.Untrusted, why)
}
