package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/worker"
)

const (
	workerGrace = 2 * time.Second
	// lastResort is when a worker process ends after it was told to, even if its
	// drain hangs on a Redis that has gone with the process that started it.
	lastResort = 5 * time.Second
)

// Worker is a worker process of the demo: it serves queue, on the Redis that the
// environment names, until it gets SIGTERM or alive, a pipe from the process
// that started it, ends.
func Worker(queue string, alive io.Reader, stderr io.Writer) error {
	// What is typed at the terminal, or its end, reaches the whole process group, but
	// it is the producer that decides when the workers go.
	signal.Ignore(os.Interrupt, syscall.SIGQUIT, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, alive)
		stop()
	}()
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			Concurrency: slots, Queues: map[string]int{queue: 1}, Grace: workerGrace, Name: "demo",
			Logger: slog.New(slog.NewTextHandler(stderr, nil)),
		}, sample.All()...)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(lastResort):
		return fmt.Errorf("the worker did not drain within %v", lastResort)
	}
}
