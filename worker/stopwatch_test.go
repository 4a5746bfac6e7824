package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

// decodedChunk makes a chunk of n calls that is ready to run, on a worker of its own.
func decodedChunk(t testing.TB, n int, cfg Config, fn func(context.Context, int) (int, error)) *chunkRun {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	cfg.Concurrency, cfg.MaxResult, cfg.Queues, cfg.Logger = 1, DefaultMaxResult, onlyQ, slog.New(slog.DiscardHandler)
	task := tasks.Erase(tasks.Define("numbers", fn))
	w := newWorker(cfg, rdb, map[string]call.Task{"numbers": task})
	data := []byte{'['}
	for i := range n {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, byte('0'+i%10))
	}
	c, err := task.Chunk(append(data, ']'), n)
	if err == nil {
		err = c.DecodeAll(0, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &chunkRun{
		worker: w, delivery: wire.Delivery{Job: "q/j", Number: 1}, task: "numbers", queue: "q", first: 1000, calls: n, total: 1 << 20, chunk: c,
		saved: time.Now(), saveEvery: time.Hour, // no Redis knows its job
	}
	if !w.enlist(r) {
		t.Fatal("the chunk is listed already")
	}
	return r
}

func TestShortCallsShareALookAtTheClockAndNoneIsLost(t *testing.T) {
	const n = 100_000
	r := decodedChunk(t, n, Config{}, func(context.Context, int) (int, error) { return 1, nil })
	began := time.Now()
	if e := r.runCalls(); e != finished {
		t.Fatalf("the round ended with %v", e)
	}
	all := time.Since(began)
	if got := r.worker.ran.Load(); got != n {
		t.Errorf("%d calls are counted, want %d", got, n)
	}
	if busy := time.Duration(r.worker.busyTime.Load()); busy > all || busy < all/2 {
		t.Errorf("the calls took %v, and %v are counted", all, busy)
	}
	if r.worker.metronome.listeners.Load() != 0 {
		t.Error("somebody listens to the metronome although no chunk runs")
	}
}

// One call among many short ones waits: it is the slowest, and is named.
func TestASlowCallAmongShortOnesIsNamed(t *testing.T) {
	const n, slow, nap = 20_000, 12_345, 60 * time.Millisecond
	i := 0
	r := decodedChunk(t, n, Config{}, func(context.Context, int) (int, error) {
		if i++; i-1 == slow {
			time.Sleep(nap)
		}
		return 1, nil
	})
	if e := r.runCalls(); e != finished {
		t.Fatalf("the round ended with %v", e)
	}
	// A machine that stands still at another call for longer than the nap would be right
	// to name that one.
	if r.slowest.Took < nap || r.slowest.Took < 2*nap && r.slowest.Call != r.first+slow {
		t.Errorf("the slowest call is %+v, want call %d, of %v", r.slowest, r.first+slow, nap)
	}
}

func TestMaxCallsEndsAWorkerAfterThatCall(t *testing.T) {
	r := decodedChunk(t, 1000, Config{MaxCalls: 777}, func(context.Context, int) (int, error) { return 1, nil })
	if e := r.runCalls(); e != interrupted {
		t.Fatalf("the round ended with %v", e)
	}
	if r.next != 777 || r.worker.ran.Load() != 777 {
		t.Errorf("%d calls ran, %d are counted; want 777", r.next, r.worker.ran.Load())
	}
}

// A task may keep its context, and look at it when others have long run.
func TestAContextThatATaskKeepsStaysThatOfItsCall(t *testing.T) {
	const n = 100
	var kept []context.Context
	r := decodedChunk(t, n, Config{}, func(ctx context.Context, _ int) (int, error) {
		kept = append(kept, ctx)
		return 1, nil
	})
	if e := r.runCalls(); e != finished {
		t.Fatalf("the round ended with %v", e)
	}
	for i, ctx := range kept {
		if info := tasks.Info(ctx); info.Call != r.first+i || info.Attempt != 1 || info.Job != "j" {
			t.Errorf("the context of call %d says %+v", r.first+i, info)
		}
	}
}

// What a chunk's run costs beside its calls.
func BenchmarkShortCalls(b *testing.B) {
	r := decodedChunk(b, 1000, Config{}, func(_ context.Context, n int) (int, error) { return n * n, nil })
	r.saveEvery = time.Hour // there is no record of it
	b.ReportAllocs()
	for b.Loop() {
		r.next = 0
		if e := r.runCalls(); e != finished {
			b.Fatalf("the round ended with %v", e)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(r.calls), "ns/call")
}
