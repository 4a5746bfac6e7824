// Command family is the programs of Python's multiprocessing.Pool tutorials, one
// section for each, in Go. Run it with
//
//	go run ./examples/family
//
// It needs no Redis: package pooltest embeds one and runs the worker in this
// process. Against a real Redis only the first lines of main differ: see
// examples/tutorial.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// The tasks.
var (
	// Double is the tutorials' def task(value): return value * 2.
	Double = tasks.Define("family.double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

	// Power takes two arguments.
	Power = tasks.Define2("family.power", func(_ context.Context, base, exponent int) (int, error) {
		p := 1
		for range exponent {
			p *= base
		}
		return p, nil
	})

	// Half raises an exception where Python's would.
	Half = tasks.Define("family.half", func(_ context.Context, n int) (int, error) {
		if n%2 != 0 {
			return 0, fmt.Errorf("%d is odd", n)
		}
		return n / 2, nil
	})

	// Slow takes so many milliseconds.
	Slow = tasks.Define("family.slow", func(ctx context.Context, ms int) (int, error) {
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			return ms, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	})
)

// The initializer: pool = Pool(initializer=init_worker, initargs=(counter,)) puts
// what all calls of a worker share into a global. Here it travels in the context.
type counterKey struct{}

func initWorker(ctx context.Context) (context.Context, error) {
	return context.WithValue(ctx, counterKey{}, new(atomic.Int64)), nil
}

// Count adds to the counter that its worker's calls share.
var Count = tasks.Define("family.count", func(ctx context.Context, n int64) (int64, error) {
	return ctx.Value(counterKey{}).(*atomic.Int64).Add(n), nil
})

// sections are the programs, in the order in which they run.
var sections = []struct {
	name string
	run  func(ctx context.Context, pool *producer.Pool, out io.Writer) error
}{
	{"map", mapLoop},
	{"starmap", starmapZipped},
	{"map_async", mapAsync},
	{"error at get", errorAtGet},
	{"error by callback", errorByCallback},
	{"polling", polling},
	{"imap", imapLoop},
	{"imap_unordered with progress", unorderedWithProgress},
	{"map_async with progress", mapWithProgress},
	{"initializer", sharedState},
	{"apply_async with callbacks", callbacks}, // closes the pool: it must be the last
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	kit, err := pooltest.Open([]tasks.Runner{Double, Power, Half, Slow, Count}, pooltest.Init(initWorker))
	if err != nil {
		return err
	}
	defer kit.Close()
	for _, s := range sections {
		fmt.Fprintf(out, "# %s\n", s.name)
		if err := s.run(ctx, kit.Pool, out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// for result in pool.map(task, range(5)):
func mapLoop(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	values, err := producer.Map(ctx, pool, Double, []int{0, 1, 2, 3, 4})
	if err != nil {
		return err
	}
	for _, value := range values {
		fmt.Fprintln(out, "got", value)
	}
	return nil
}

// for args, result in zip(items, pool.starmap(power, items)):
func starmapZipped(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	items := []tasks.Args2[int, int]{tasks.Of2(2, 10), tasks.Of2(3, 4), tasks.Of2(10, 3)}
	values, err := producer.Starmap(ctx, pool, Power, items)
	if err != nil {
		return err
	}
	for i, args := range items {
		fmt.Fprintf(out, "%d ** %d = %d\n", args.A, args.B, values[i])
	}
	return nil
}

// result = pool.map_async(task, range(3)); ...; for value in result.get():
func mapAsync(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	result, err := producer.MapAsync(ctx, pool, Double, []int{10, 20, 30})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "submitted")
	values, err := result.Get(ctx)
	if err != nil {
		return err
	}
	for _, value := range values {
		fmt.Fprintln(out, "got", value)
	}
	return nil
}

// try: result.get() except Exception as e:
func errorAtGet(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	result, err := producer.MapAsync(ctx, pool, Half, []int{2, 3, 4})
	if err != nil {
		return err
	}
	values, err := result.Get(ctx)
	failed, ok := errors.AsType[*results.MapError](err)
	if !ok {
		return err
	}
	for _, e := range failed.Errors {
		fmt.Fprintf(out, "call %d failed: %s\n", e.Call, e.Message)
	}
	fmt.Fprintln(out, "the others:", values[0], values[2])
	return nil
}

// pool.apply_async(task, args=(3,), callback=..., error_callback=...)
func errorByCallback(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	result, err := producer.ApplyAsync(ctx, pool, Half, 3)
	if err != nil {
		return err
	}
	called := make(chan struct{}) // not result.Done(): a quick call may be over before it has callbacks
	result.OnSuccess(func(v int) {
		defer close(called)
		fmt.Fprintln(out, "callback:", v)
	})
	result.OnError(func(err error) {
		defer close(called)
		fmt.Fprintln(out, "error callback:", err)
	})
	<-called
	return nil
}

// while not result.ready(): result.wait(timeout=1)
func polling(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	result, err := producer.ApplyAsync(ctx, pool, Slow, 1200)
	if err != nil {
		return err
	}
	for !result.Ready() {
		fmt.Fprintln(out, "not ready yet")
		second, cancel := context.WithTimeout(ctx, time.Second)
		err := result.Wait(second)
		cancel()
		if err != nil && !errors.Is(err, results.ErrTimeout) {
			return err
		}
	}
	ok, err := result.Successful()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ready, successful:", ok)
	return nil
}

// for result in pool.imap(task, range(5)):
func imapLoop(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	for value, err := range producer.IMap(ctx, pool, Double, slices.Values([]int{0, 1, 2, 3, 4})) {
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "got", value)
	}
	return nil
}

// for result in tqdm(pool.imap_unordered(task, items), total=len(items)):
func unorderedWithProgress(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	items := []int{5, 1, 4, 2, 3, 0, 6, 7}
	done, sum := 0, 0
	for value, err := range producer.IMapUnordered(ctx, pool, Double, slices.Values(items)) {
		if err != nil {
			return err
		}
		done++
		sum += value
		fmt.Fprintf(out, "%d/%d\n", done, len(items))
	}
	fmt.Fprintln(out, "sum:", sum)
	return nil
}

// result = pool.map_async(task, items); and a bar that moves while it runs, for
// which Python's programs look at result._number_left.
func mapWithProgress(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	result, err := producer.MapAsync(ctx, pool, Slow, []int{20, 20, 20, 20}, producer.ChunkSize(1))
	if err != nil {
		return err
	}
	var last results.Progress
	for p := range result.Watch(ctx) {
		last = p // a bar would show p.Done, p.Running, p.Rate and p.Left here
	}
	fmt.Fprintf(out, "%d/%d, %d failed\n", last.Done, last.Calls, last.Failed)
	return nil
}

// counter.value += n, under a lock, in workers that the initializer gave it to
func sharedState(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	values, err := producer.Map(ctx, pool, Count, []int64{1, 10, 100})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the last one to count saw", slices.Max(values))
	return nil
}

// apply_async in a loop with a callback, then pool.close() and pool.join()
func callbacks(ctx context.Context, pool *producer.Pool, out io.Writer) error {
	sum := 0 // callbacks run on one goroutine, and Join comes after all of them
	for n := range 10 {
		result, err := producer.ApplyAsync(ctx, pool, Double, n)
		if err != nil {
			return err
		}
		result.OnSuccess(func(v int) { sum += v })
	}
	pool.Close()
	if err := pool.Join(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "sum of all:", sum)
	return nil
}
