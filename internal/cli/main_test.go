package cli_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9/logging"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/worker"
)

// beProgram makes this test binary the distpool program, so that tests run it,
// and it its workers, as real processes.
const beProgram = "DISTPOOL_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	logging.Disable()
	if os.Getenv(beProgram) != "" {
		os.Exit(cli.Main())
	}
	m.Run()
	if dir := programsDir.Load(); dir != nil {
		_ = os.RemoveAll(*dir)
	}
}

// buffer is a buffer that is safe for concurrent use.
type buffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// outcome is what one run of the program did.
type outcome struct {
	code     int
	out, err string
}

// program runs the program in this process, on the given Redis.
func program(ctx context.Context, addr, stdin string, args ...string) outcome {
	var out, err buffer
	code := cli.Run(ctx, append([]string{"--redis", addr}, args...), cli.Streams{In: strings.NewReader(stdin), Out: &out, Err: &err})
	return outcome{code, out.String(), err.String()}
}

// bounded is a context that ends a test which hangs.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// serve starts a worker in this process, on an embedded Redis whose address it
// returns.
func serve(t *testing.T) string {
	addr := miniredis.RunT(t).Addr()
	startWorker(t, addr)
	return addr
}

func startWorker(t *testing.T, addr string) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Run(ctx, worker.Config{Redis: addr, Concurrency: 4, Grace: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}, sample.All()...)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen that %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
