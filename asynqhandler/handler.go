package asynqhandler

import (
	"context"
	"errors"
	"maps"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/deliver"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// Config says how a Handler runs. The zero value works, as that of worker.Config does.
type Config struct {
	// Worker is the configuration of the worker that the handler is. Its Concurrency and Queues must
	// be those of the asynq.Server.
	Worker worker.Config

	// Others handles the tasks of the server that are no deliveries of distpool. A queue that
	// distpool's own workers serve as well must not have such tasks: workers archive them. Defaults
	// to none: they are archived.
	Others asynq.Handler
}

// Handler is an asynq.Handler that runs distpool's tasks. It belongs to one asynq.Server.
type Handler struct {
	others asynq.Handler
	worker deliver.Hosted
	stop   context.CancelFunc
	done   chan struct{} // closed when the worker has ended
	err    error         // how it ended; read it after done
}

// New starts a Handler. It returns once the handler can take deliveries. ctx is for starting: its end
// afterwards means nothing.
//
// The errors are those of worker.Run at its start: the configuration is wrong, Init fails, or
// Redis cannot be used. As there, two tasks of one name, no task at all, or a task that is only
// declared are programmer errors: New panics.
func New(ctx context.Context, cfg Config, ts ...tasks.Runner) (*Handler, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &Handler{others: cfg.Others, stop: stop, done: make(chan struct{})}
	starting := context.AfterFunc(ctx, stop)
	serves := make(chan struct{})
	running = deliver.WithHost(running, func(w deliver.Hosted) {
		h.worker = w
		close(serves)
	})
	var panicked any
	go func() {
		defer close(h.done)
		defer func() {
			if h.worker.Deliver == nil { // New waits, and panics in its caller
				panicked = recover()
			}
		}()
		h.err = worker.Run(running, cfg.Worker, ts...)
	}()
	select {
	case <-serves:
		starting()
		return h, nil
	case <-h.done:
	}
	stop()
	switch {
	case panicked != nil:
		panic(panicked)
	case h.err != nil:
		return nil, h.err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, errors.New("starting an asynq handler: its worker ended before it served")
}

// Queues returns the queues that the asynq.Server must serve, for asynq.Config.Queues: those of
// Config.Worker. On a Cluster a queue has several, its lanes.
func (h *Handler) Queues() map[string]int { return maps.Clone(h.worker.Queues) }

// ProcessTask runs one delivery. It is for the asynq.Server.
func (h *Handler) ProcessTask(ctx context.Context, t *asynq.Task) error {
	id, _ := asynq.GetTaskID(ctx)
	lane, _ := asynq.GetQueueName(ctx)
	if _, ours := job.ParseTaskID(id); !ours && h.others != nil {
		return h.others.ProcessTask(ctx, t)
	}
	err := h.worker.Deliver(ctx, lane, id, t.Type())
	var archived deliver.Archived
	if errors.As(err, &archived) {
		return failure{archived}
	}
	return err
}

// failure is an error with which asynq archives a task.
type failure struct{ error }

// Unwrap returns what asynq looks for.
func (failure) Unwrap() error { return asynq.SkipRetry }

// Done returns a channel that is closed when the handler has ended: by Close, or by itself, as
// worker.Run does after MaxCalls calls, or when a call has passed its HardTimeout. The program should
// stop the server then.
func (h *Handler) Done() <-chan struct{} { return h.done }

// Close ends the handler as the end of its context ends worker.Run: running calls may go on for
// Config.Worker.Grace, and chunks are given back. The server must be told to Stop before, and to Shutdown
// after that. Close returns what worker.Run returns: nil after a clean drain, worker.ErrRecycle
// after a HardTimeout, and an error that counts the chunks that had to be abandoned. It may be
// called more than once.
func (h *Handler) Close() error {
	h.stop()
	<-h.done
	return h.err
}
