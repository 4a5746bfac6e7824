package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/tasks"
)

// BenchmarkCallsOfAChunk runs chunks of 1,000 calls that do nothing, without
// Redis: what a call costs the worker itself, unobserved and observed.
func BenchmarkCallsOfAChunk(b *testing.B) {
	nothing := tasks.Erase(tasks.Define("nothing", func(context.Context, int) (int, error) { return 0, nil }))
	args := []byte("[0")
	const calls = 1000
	for range calls - 1 {
		args = append(args, ",0"...)
	}
	args = append(args, ']')
	for _, o := range []struct {
		name     string
		observer observe.Worker
	}{{"off", nil}, {"nop", observe.NopWorker{}}} {
		b.Run(o.name, func(b *testing.B) {
			w := newWorker(Config{Concurrency: 1, MaxResult: DefaultMaxResult, Logger: slog.New(slog.DiscardHandler)}, nil, map[string]call.Task{"nothing": nothing})
			if o.observer != nil {
				watcher, err := observers.Workers([]observe.Worker{o.observer}, w.log)
				if err != nil {
					b.Fatal(err)
				}
				w.watchBy(watcher)
			}
			for b.Loop() {
				chunk, err := nothing.Chunk(args, calls)
				if err == nil {
					err = chunk.DecodeAll(0, false)
				}
				if err != nil {
					b.Fatal(err)
				}
				r := &chunkRun{worker: w, delivery: wire.Delivery{Job: "q/J", Number: 1}, task: "nothing", calls: calls, total: calls, chunk: chunk, saved: time.Now(), saveEvery: time.Hour}
				r.ctx, r.cancel = context.WithCancelCause(w.calls)
				r.pass = heldPass(&w.alone)
				w.alone.Lock()
				if r.runCalls() != finished {
					b.Fatal("not finished")
				}
				r.pass.end()
				r.cancel(nil)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/call")
		})
	}
}
