// Package load is the processes of a chaos: workers, and producers with a mixed load, which
// write down what they do (package history). They are the driver's program, started again
// with a Spec in their environment: see Child.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distpool/distpool/internal/history"
)

// EnvSpec makes the program a process of the run: its value is a Spec in JSON.
const EnvSpec = "DISTPOOL_CHAOS_PROCESS"

// Queue is the queue of the run.
const Queue = "chaos"

// Spec is what a worker or producer process is started with.
type Spec struct {
	Role    string // "worker" or "producer"
	Process string // its name: that of its place, and the number of its start
	Redis   string
	Dir     string // of the histories
	Seed    uint64
	Number  int // of its start, from 1
	Load    []string
	Drain   time.Duration
}

// Child runs the process that the environment asks for, and returns true and its
// exit status; false if it asks for none. It must be called first in main.
func Child() (code int, isChild bool) {
	encoded := os.Getenv(EnvSpec)
	if encoded == "" {
		return 0, false
	}
	var s Spec
	if err := json.Unmarshal([]byte(encoded), &s); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", EnvSpec, err)
		return 2, true
	}
	go func() { // it must not outlive its parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3) //revive:disable-line:deep-exit the parent is gone
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

func (s Spec) run(ctx context.Context) error {
	h, err := history.Create(s.Dir, s.Process)
	if err != nil {
		return err
	}
	defer h.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("process", s.Process)
	if s.Role == "worker" {
		return work(ctx, s, h, log)
	}
	return produce(ctx, s, h, log)
}
