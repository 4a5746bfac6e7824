package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// bed is a Redis on which jobs are made as producers make them.
type bed struct {
	rdb  redis.UniversalClient
	lane string // the only one of its queue
	log  logBuffer
}

// logBuffer collects what workers write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.buf.String(), text)
}

// onBoth runs f on miniredis and on a redis-server.
func onBoth(t *testing.T, f func(t *testing.T, b *bed)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), PoolSize: 4})
		t.Cleanup(func() { rdb.Close() })
		f(t, newBed(t, rdb))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, newBed(t, redistest.Start(t).Client(t)))
	})
}

func newBed(t *testing.T, rdb redis.UniversalClient) *bed {
	b := &bed{rdb: rdb, lane: "q"}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.log.buf.String())
		}
	})
	return b
}

// started is a worker that runs.
type started struct {
	stop  func() error // returns what Run did
	ended chan struct{}
}

// start starts a worker of the bed's queue, which ends with the test.
func (b *bed) start(t *testing.T, cfg worker.Config, ts ...tasks.Runner) *started {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cfg.Client, cfg.Queues = b.rdb, map[string]int{b.lane: 1}
	cfg.Logger = slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 2
	}
	w := &started{ended: make(chan struct{})}
	var err error
	go func() {
		defer close(w.ended)
		err = worker.Run(ctx, cfg, ts...)
	}()
	w.stop = func() error {
		cancel()
		select {
		case <-w.ended:
		case <-time.After(soon):
			t.Error("a worker does not end")
			return nil
		}
		return err
	}
	t.Cleanup(func() { _ = w.stop() })
	return w
}

// submit makes a job of calls in chunks of the given size. args are JSON.
func (b *bed) submit(t *testing.T, name string, about job.About, size int, args ...string) {
	t.Helper()
	text, err := about.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var chunks []job.Chunk
	for first := 0; first < len(args); first += size {
		n := min(size, len(args)-first)
		d := job.Delivery{Ref: job.Ref{Name: name}, Chunk: len(chunks), Number: 1}
		frame := wire.EncodeArgs(first, n, []byte("["+strings.Join(args[first:first+n], ",")+"]"))
		stored, err := job.Store(t.Context(), b.rdb, b.lane, name, frame)
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, job.Chunk{Number: d.Chunk, Args: stored, TaskID: d.TaskID(), Message: job.Message(b.lane, about.Task, d, "", time.Time{})})
	}
	j := job.New(job.Job{Ref: job.Ref{Name: name}, About: text, Pool: "pool", Calls: len(args), Chunks: len(chunks), Life: time.Hour, TTL: time.Hour}, chunks)
	if states, err := job.Submit(t.Context(), b.rdb, b.lane, []job.Submission{j}); err != nil || states[0] != job.Sealed {
		t.Fatalf("submitting %s: %v, %v", name, states, err)
	}
}

// call makes a job of one call.
func (b *bed) call(t *testing.T, name, task, arg string) {
	t.Helper()
	b.submit(t, name, job.About{Task: task}, 1, arg)
}

func (b *bed) snapshot(t *testing.T, name string) job.Snapshot {
	t.Helper()
	s, err := job.Read(t.Context(), b.rdb, b.lane, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// outcome waits until the job is done and returns the outcomes of a chunk.
func (b *bed) outcome(t *testing.T, name string, chunk int) wire.Outcome {
	t.Helper()
	eventually(t, "job "+name+" is done", func() bool { return b.snapshot(t, name).State == job.Done })
	frame, err := job.QueueOut(t.Context(), b.rdb, b.lane, name, chunk)()
	if err == nil {
		frame, err = job.Load(t.Context(), b.rdb, b.lane, name, frame)
	}
	if err != nil {
		t.Fatal(err)
	}
	o, err := wire.ParseOutcome(frame)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// wantValues waits for the values of a chunk, in JSON.
func (b *bed) wantValues(t *testing.T, name string, chunk int, want string) {
	t.Helper()
	if o := b.outcome(t, name, chunk); len(o.Errors) > 0 || string(o.Values) != want {
		t.Errorf("chunk %d of %s has values %.80q and errors %v, want %.80q", chunk, name, o.Values, o.Errors, want)
	}
}

func (b *bed) inspector() *asynq.Inspector {
	return asynq.NewInspectorFromRedisClient(b.rdb)
}

// info is the queue as asynq's tools see it.
func (b *bed) info(t *testing.T) *asynq.QueueInfo {
	t.Helper()
	q, err := b.inspector().GetQueueInfo(b.lane)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// asynqInfo is a queue of another Redis as asynq's tools see it.
func asynqInfo(t *testing.T, url, lane string) *asynq.QueueInfo {
	t.Helper()
	target, err := redisconn.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	rdb := target.Client()
	defer rdb.Close()
	q, err := asynq.NewInspectorFromRedisClient(rdb).GetQueueInfo(lane)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// eventually waits until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, soon)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// gate is a task that holds its calls, and counts how often each one began.
type gate struct {
	*tasks.Task[int, int]
	open chan struct{}

	mu    sync.Mutex
	began map[int]int // guarded by mu
	ended []error     // guarded by mu: the causes for which contexts of calls were canceled
}

func newGate(name string) *gate {
	g := &gate{open: make(chan struct{}), began: map[int]int{}}
	g.Task = tasks.Define(name, func(ctx context.Context, n int) (int, error) {
		g.mu.Lock()
		g.began[n]++
		g.mu.Unlock()
		select {
		case <-g.open:
			return n, nil
		case <-ctx.Done():
			g.mu.Lock()
			defer g.mu.Unlock()
			g.ended = append(g.ended, context.Cause(ctx))
			return 0, ctx.Err()
		}
	})
	return g
}

func (g *gate) runs(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.began[n]
}

func (g *gate) causes() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprint(g.ended)
}

var square = tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
