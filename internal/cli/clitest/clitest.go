// Package clitest runs the distpool program and a worker in the process of a test.
package clitest

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/worker"
)

// Outcome is what one run of the program did.
type Outcome struct {
	Code     int
	Out, Err string
}

// OK is the outcome of a run in which each call returned a value, and which has nothing
// else to say.
func OK(out string) Outcome { return Outcome{Code: console.ExitOK, Out: out} }

// Run runs the program on the given Redis, for half a minute at the most.
func Run(t *testing.T, addr, stdin string, args ...string) Outcome {
	t.Helper()
	return RunIn(Bounded(t), addr, stdin, args...)
}

// RunIn runs the program until ctx interrupts it.
func RunIn(ctx context.Context, addr, stdin string, args ...string) Outcome {
	var out, err Buffer
	code := cli.Run(ctx, append([]string{"--redis", addr}, args...), console.Streams{In: strings.NewReader(stdin), Out: &out, Err: &err})
	return Outcome{code, out.String(), err.String()}
}

// Submitted submits a job and returns its ID.
func Submitted(t *testing.T, addr string, args ...string) (id string) {
	t.Helper()
	got := Run(t, addr, "", append(args, "--async")...)
	if got.Code != console.ExitOK || got.Out == "" {
		t.Fatalf("%v: %+v", args, got)
	}
	return strings.TrimSpace(got.Out)
}

// Serve starts a worker on an embedded Redis whose address it returns.
func Serve(t *testing.T) (addr string) {
	t.Helper()
	addr = miniredis.RunT(t).Addr()
	StartWorker(t, addr)
	return addr
}

// StartWorker starts a worker with the sample tasks on some queues, or on the default one.
func StartWorker(t *testing.T, addr string, queues ...string) {
	t.Helper()
	cfg := worker.Config{Redis: addr, Concurrency: 4, Grace: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	for _, q := range queues {
		if cfg.Queues == nil {
			cfg.Queues = map[string]int{}
		}
		cfg.Queues[q] = 1
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx, cfg, sample.All()...) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
}

// Decode reads lines of JSON.
func Decode[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(text) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in line %s", err, line)
		}
		all = append(all, v)
	}
	return all
}

// Bounded is a context that ends a test which hangs.
func Bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits for a condition.
func Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen that %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Buffer is a buffer that is safe for concurrent use.
type Buffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write appends to the buffer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is what the buffer has.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
