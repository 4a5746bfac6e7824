package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
)

const (
	// heldAgain is the time between two looks at a chunk that another worker has by a delivery which
	// asynq has moved. heldFor is how long these go on: supervision knows by then whether that worker
	// is dead, and issues the chunk again.
	heldAgain = time.Second
	heldFor   = 20 * time.Second
	// cancelTime is how long after asynq has canceled a delivery its job may be canceled: that is
	// announced on another connection. If it is not, asynq has given the delivery up.
	cancelTime = 500 * time.Millisecond
	// drainTime is how long a delivery is kept that comes while the worker drains. It goes back to the
	// head of pending, from where the same asynq.Server may take it again.
	drainTime = time.Second
)

// errAgain is the error of a delivery that asynq is to bring again.
var errAgain = errors.New("what became of the chunk is not in its job; the delivery is to come again")

// Deliver deals with a delivery that an asynq.Server has taken, until the server gives it up: then
// ctx ends. The server ends the delivery: without an error it is done, with an Archived it
// is archived, with any other it is to come again.
func (h *Handler) Deliver(ctx context.Context, lane, taskID, task string) error {
	ended := make(chan error, 1)
	over := func(err error) { ended <- err }
	if h.draining() {
		execute.Pause(ctx, drainTime)
		d, ok := job.ParseTaskID(taskID)
		if !ok {
			return errAgain
		}
		r := h.newRun(lane, job.Taken{Delivery: d, TaskID: taskID}, over)
		r.chunk.Task = task
		r.giveUp(job.Head)
		return <-ended
	}
	t, err := h.takeHosted(ctx, lane, taskID)
	if err != nil {
		return err
	}
	r := h.newRun(lane, t, over)
	if t.Verdict == job.Run || t.Verdict == job.Alone {
		go r.serve()
	} else {
		r.refuse()
	}
	select {
	case err := <-ended:
		execute.Pause(ctx, r.rests)
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(cancelTime):
	}
	r.cancel(ErrDraining)
	return <-ended
}

// takeHosted makes the worker the owner of the chunk, if it may run.
func (h *Handler) takeHosted(ctx context.Context, lane, taskID string) (job.Taken, error) {
	for began := time.Now(); ; execute.Pause(ctx, heldAgain) {
		var taken []job.Taken
		err := until(ctx, h.Executor.Log, "take", func(ctx context.Context) (err error) {
			taken, err = h.take(ctx, lane, taskID, Budget)
			return err
		})
		switch {
		case err != nil:
			return job.Taken{}, err
		case len(taken) == 1 && taken[0].Verdict != job.Held:
			return taken[0], nil
		case ctx.Err() != nil || time.Since(began) > heldFor:
			return job.Taken{}, errAgain
		}
	}
}

// take takes a delivery that is in active, by its task ID.
func (h *Handler) take(ctx context.Context, lane, taskID string, budget int) ([]job.Taken, error) {
	return job.Take(ctx, h.Redis, lane, job.Taking{
		Worker: h.Executor.Worker, Room: 1, Moved: []string{taskID}, Budget: budget, Hosted: h.Hosted, Now: time.Now(),
	})
}

// Hosted is a worker that serves, for the asynq.Server that takes its deliveries. It reaches package
// asynqhandler by the context of worker.Run, so that it is no part of what worker exports.
type Hosted struct {
	Queues map[string]int // the lanes of its queues, with the weights of these
	// Deliver deals with a delivery that the server has taken: see Handler.Deliver.
	Deliver func(ctx context.Context, lane, taskID, task string) error
}

type hostKey struct{}

// WithHost returns a context with which worker.Run takes no deliveries itself. It calls serves, which
// must not block, once it serves.
func WithHost(ctx context.Context, serves func(Hosted)) context.Context {
	return context.WithValue(ctx, hostKey{}, serves)
}

// HostFrom returns what WithHost was given; nil: the worker takes its deliveries itself.
func HostFrom(ctx context.Context) func(Hosted) {
	serves, _ := ctx.Value(hostKey{}).(func(Hosted))
	return serves
}

// Archived is the error of a delivery that asynq is to archive, with this text.
type Archived string

// Error is the text.
func (e Archived) Error() string { return string(e) }
