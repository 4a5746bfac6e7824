package queue

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
)

// onBoth runs f on miniredis and on a redis-server.
func onBoth(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { rdb.Close() })
		f(t, rdb)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, redistest.Start(t).Client(t))
	})
}

// submit submits calls, each a job of its own, with the given names.
func submit(t *testing.T, rdb redis.UniversalClient, lane string, names ...string) {
	t.Helper()
	entries := make([]job.Submission, len(names))
	for i, name := range names {
		d := job.Delivery{Ref: job.Ref{Name: name}, Number: 1}
		m := asynqfmt.Message{Type: "square", ID: d.TaskID(), Queue: lane, Retry: 10}
		entries[i] = job.New(job.Job{Ref: d.Ref, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute},
			[]job.Chunk{{Args: []byte(name), TaskID: d.TaskID(), Message: m.Append(nil)}})
	}
	if _, err := job.Submit(t.Context(), rdb, lane, entries); err != nil {
		t.Fatal(err)
	}
}

func named(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return names
}

// worker is a Consumer of a test that records what it runs.
type worker struct {
	*Consumer
	rdb     redis.UniversalClient
	outcome *Batch[job.Finished, job.Answer]

	busy   atomic.Int64
	mu     sync.Mutex
	ran    []string // guarded by mu: names of jobs, in the order in which they began
	most   int64    // guarded by mu: how many ran at once
	hold   func(name string)
	stop   func()
	cancel func()
}

// serve starts a worker that stops with the test. hold, if there is one, is called within each call.
func serve(t *testing.T, rdb redis.UniversalClient, id string, slots int, strict bool, hold func(name string), queues ...Queue) *worker {
	t.Helper()
	w := newWorker(rdb, id, hold)
	w.start(t, Config{Redis: rdb, Worker: id, Slots: slots, Queues: queues, Strict: strict})
	return w
}

func newWorker(rdb redis.UniversalClient, id string, hold func(name string)) *worker {
	w := &worker{rdb: rdb, hold: hold}
	w.outcome = &Batch[job.Finished, job.Answer]{
		Send: func(ctx context.Context, lane string, entries []job.Finished) ([]job.Answer, error) {
			return job.Finish(ctx, rdb, lane, job.Finishing{Worker: id, Now: time.Now()}, entries)
		},
		Size: func(job.Finished) int { return 1 },
	}
	return w
}

// start starts the Consumer of the worker.
func (w *worker) start(t *testing.T, cfg Config) {
	t.Helper()
	cfg.Refuse = func(lane string, d job.Taken) {
		if d.Verdict == job.Run { // its answer came late
			_, _ = w.outcome.Do(context.Background(), lane, job.Return(d.Delivery, nil, 0, job.Head, job.Message(lane, "square", d.Delivery, "", time.Time{})))
		} else if !d.Verdict.IsOver() {
			t.Errorf("worker %s refuses %+v of %s", cfg.Worker, d, lane)
		}
	}
	cfg.Run, cfg.Logger = w.run, slog.New(slog.NewTextHandler(io.Discard, nil))
	if cfg.Listen == nil {
		cfg.Listen = cfg.Redis
	}
	if cfg.Lanes == nil {
		cfg.Lanes = func(_ context.Context, queue string) ([]string, error) { return []string{queue}, nil }
	}
	w.Consumer = NewConsumer(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	over := make(chan struct{})
	go func() {
		w.Serve(ctx)
		w.Wait()
		close(over)
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-over:
		case <-time.After(20 * time.Second):
			t.Errorf("worker %s does not stop", cfg.Worker)
		}
	})
	t.Cleanup(w.stop)
}

func (w *worker) run(lane string, d job.Taken, over func()) {
	defer over()
	w.mu.Lock()
	w.ran = append(w.ran, d.Name)
	w.most = max(w.most, w.busy.Add(1))
	w.mu.Unlock()
	defer w.busy.Add(-1)
	if w.hold != nil {
		w.hold(d.Name)
	}
	_, _ = w.outcome.Do(context.Background(), lane, job.Record(d.Delivery, job.Outcomes{Frame: []byte("0 1 0\n[1]"), Calls: 1}))
}

func (w *worker) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.ran...)
}

// eventually waits until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// isDone reports whether the job is done.
func isDone(t *testing.T, rdb redis.UniversalClient, lane, name string) bool {
	t.Helper()
	s, err := job.Read(t.Context(), rdb, lane, name)
	if err != nil {
		t.Fatal(err)
	}
	return s.State == job.Done
}
