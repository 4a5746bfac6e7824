package deliver

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

// delivery is one delivery that this worker deals with, and what is asked of Redis about it.
type delivery struct {
	job.Taken
	on         *Handler
	lane       string
	about      job.About
	unreadable error // why about cannot be read
	chunk      execute.Chunk

	// What an asynq.Server is told.
	dealt atomic.Bool   // Redis has taken what became of the chunk
	why   string        // the delivery is to be archived, with this error; empty: it is not
	rests time.Duration // how long the slot rests after that
	over  func(error)   // the delivery has been dealt with
}

func (d *delivery) key() chunkKey { return chunkKey{d.lane, d.Ref, d.Chunk} }

// log is the chunk's log.
func (d *delivery) log() *slog.Logger {
	return d.on.Executor.Log.With("job", d.chunk.Job, "chunk", d.chunk.Number, "task", d.chunk.Task)
}

// returned gives the chunk back.
func (d *delivery) returned(part []byte, calls int, where string) job.Finished {
	return d.hosted(job.Return(d.Delivery, part, calls, where, job.Message(d.lane, d.chunk.Task, d.next(), "", time.Time{})))
}

// send sends one entry by itself, once.
func (d *delivery) send(ctx context.Context, entry job.Finished) (job.Answer, error) {
	answers, err := d.on.recorder.send(ctx, d.lane, []job.Finished{entry})
	if err != nil {
		return "", err
	}
	if d.note(answers[0]); answers[0] == job.BadJob {
		err = errDamaged
	}
	return answers[0], err
}

// discard removes a large frame that no record refers to. Otherwise it goes by itself.
func (d *delivery) discard(stored []byte) {
	if job.IsReference(stored) {
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		_ = job.Discard(ctx, d.on.Redis, d.lane, d.Name, stored)
	}
}

// checkpoint saves what the chunk has: a frame, or the reference to a large one; nil saves nothing.
func (d *delivery) checkpoint(ctx context.Context, part []byte, calls int) (job.State, error) {
	states, err := job.Checkpoint(ctx, d.on.Redis, d.lane, d.on.Executor.Worker, job.Saved{Delivery: d.Delivery, Part: part, Calls: calls})
	if err != nil {
		return "", err
	}
	return states[0], nil
}

func (d *delivery) cancelJob(reason string) {
	err := until(d.on.Calls, d.log(), "cancel", func(ctx context.Context) error {
		_, err := job.Cancel(ctx, d.on.Redis, d.lane, reason, d.Ref)
		return err
	})
	if err != nil {
		d.log().Error("canceling it failed", "error", err)
	}
}

// dismiss has asynq archive the delivery.
func (d *delivery) dismiss(why string) {
	if d.why = why; d.on.Hosted {
		return
	}
	d.try("archiving a delivery", func(ctx context.Context) error {
		message, err := job.Failed(ctx, d.on.Redis, d.lane, d.TaskID, why, time.Now())
		if err == nil {
			_, err = d.send(ctx, job.Dismiss(d.TaskID, message))
		}
		return err
	})
}

// hostedEnd is how an asynq.Server ends the delivery.
func (d *delivery) hostedEnd() error {
	switch {
	case !d.on.Hosted:
		return nil
	case d.why != "":
		return Archived(d.why)
	case !d.dealt.Load():
		return errAgain
	}
	return nil
}

// next is the delivery with which a chunk that is given back comes again.
func (d *delivery) next() job.Delivery {
	next := d.Delivery
	if d.on.Hosted {
		next.Number++
	}
	return next
}

// hosted is the entry that gives the chunk back.
func (d *delivery) hosted(entry job.Finished) job.Finished {
	if d.on.Hosted {
		return entry.Hosted(d.next().TaskID())
	}
	return entry
}

// note notes whether the chunk is dealt with.
func (d *delivery) note(answer job.Answer) {
	if answer != job.NotOwner && answer != job.NoFrame {
		d.dealt.Store(true)
	}
}

// putBack gives the delivery back of a chunk that has no owner.
func (d *delivery) putBack(ctx context.Context) error {
	if !d.on.Hosted {
		return job.PutBack(ctx, d.on.Redis, d.lane, d.TaskID)
	}
	states, err := job.ReissueAll(ctx, d.on.Redis, d.lane, job.Reissue{Delivery: d.next(), Task: d.chunk.Task})
	d.dealt.Store(err == nil && states[0] != job.Busy) // for supervision to find, should its owner be dead
	return err
}

// yield lets other workers go first: the lane rests here, or the slot of the asynq.Server does.
func (d *delivery) yield(rest time.Duration) {
	if d.on.Hosted {
		d.rests = rest
		return
	}
	d.on.Yield(d.lane, rest)
}

// until repeats a request until it succeeds or fails for good, or ctx ends. A try that is under way
// then goes on: what it does is to be known.
func until(ctx context.Context, log *slog.Logger, what string, f func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, time.Second
	warned := false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(context.Background(), tryTime)
		defer cancel()
		err := f(ctx)
		switch {
		case err == nil:
		case isFinal(err):
			err = backoff.Permanent(err)
		case !warned:
			warned = true
			log.Warn("Redis does not answer; will keep trying", "request", what, "error", err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
	return err
}

// try repeats a request about the chunk for some seconds: supervision puts right what it does not do.
func (d *delivery) try(what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if err := until(ctx, d.log(), what, f); err != nil {
		d.log().Warn(what+" failed; supervision sees to it", "error", err)
	}
}

// delivered tells what came of a delivery.
func (d *delivery) delivered(v observe.Verdict) {
	h := d.on
	if h.Executor.Observers == nil {
		return
	}
	o := observe.Delivery{Job: d.chunk.Job, Chunk: d.chunk.Number, Task: d.chunk.Task, Queue: d.chunk.Queue, Number: d.Number, Verdict: v}
	if v == observe.Foreign {
		o.Job = ""
	}
	if v == observe.Run || v == observe.Lost {
		o.Deaths = d.chunk.Deaths
	}
	if v == observe.Run && o.Deaths == 0 && len(d.chunk.Partial) == 0 && d.Number == 1 && d.Waited >= 0 {
		o.Waited, o.Wait = true, d.Waited
	}
	h.Executor.Observers.Deliver(o)
	if h.Executor.Debug {
		h.Executor.Log.Debug("a delivery", "job", o.Job, "chunk", o.Chunk, "task", o.Task, "queue", o.Queue, "delivery", o.Number, "verdict", v, "wait", o.Wait)
	}
}
