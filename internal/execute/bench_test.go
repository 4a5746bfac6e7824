package execute

import (
	"context"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/tasks"
)

// BenchmarkCallsOfAChunk runs chunks of 1,000 calls that do nothing: what a call costs the
// worker itself, unobserved and observed.
func BenchmarkCallsOfAChunk(b *testing.B) {
	nothing := tasks.Define("nothing", func(context.Context, int) (int, error) { return 0, nil })
	const calls = 1000
	for _, o := range []struct {
		name     string
		observer observe.Worker
	}{{"off", nil}, {"nop", observe.NopWorker{}}} {
		b.Run(o.name, func(b *testing.B) {
			e := executor(nothing)
			if o.observer != nil {
				var err error
				if e.Observers, err = observers.Workers([]observe.Worker{o.observer}, e.Log); err != nil {
					b.Fatal(err)
				}
			}
			chunk := chunkOf(b, nothing, make([]int, calls)...)
			for b.Loop() {
				ends(b, Finished, e.New(chunk, &host{}))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/call")
		})
	}
}

// BenchmarkAChunkOfOneCall is what most chunks of a busy queue cost the worker itself.
func BenchmarkAChunkOfOneCall(b *testing.B) {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	e, chunk := executor(square), chunkOf(b, square, 7)
	b.ReportAllocs()
	for b.Loop() {
		r := e.New(chunk, &host{})
		ends(b, Finished, r)
		if o := r.Outcome(); len(o.Errors) > 0 {
			b.Fatal(o.Errors)
		}
	}
}

// BenchmarkShortCalls is the price of a chunk's run beside its calls.
func BenchmarkShortCalls(b *testing.B) {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	r := executor(square).New(chunkOf(b, square, numbers(1000)...), &host{})
	ends(b, Finished, r)
	r.every = time.Hour
	b.ReportAllocs()
	for b.Loop() {
		r.next = 0
		if e := r.runCalls().End; e != Finished {
			b.Fatalf("the round ended with %v", e)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(r.calls), "ns/call")
}
