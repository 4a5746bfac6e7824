package results_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"strings"
	"time"

	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// examplePool opens a pool whose calls run in this process. done releases it.
func examplePool(ts ...tasks.Runner) (pool *producer.Pool, done func()) {
	kit, err := pooltest.Open(ts)
	if err != nil {
		log.Fatal(err)
	}
	return kit.Pool, func() {
		if err := kit.Close(); err != nil {
			log.Fatal(err)
		}
	}
}

// Giving up the wait does not give up the call.
func ExampleAsyncResult_GetTimeout() {
	start := make(chan struct{})
	answer := tasks.Define("answer", func(_ context.Context, _ string) (int, error) {
		<-start
		return 42, nil
	})
	pool, done := examplePool(answer)
	defer done()

	ctx := context.Background()
	result, err := producer.ApplyAsync(ctx, pool, answer, "everything")
	if err != nil {
		log.Fatal(err)
	}
	_, err = result.GetTimeout(50 * time.Millisecond)
	fmt.Println(errors.Is(err, results.ErrTimeout), errors.Is(err, context.DeadlineExceeded))

	close(start)
	fmt.Println(result.Get(ctx))
	// Output:
	// true true
	// 42 <nil>
}

// Successful is for results that are there.
func ExampleAsyncResult_Successful() {
	start := make(chan struct{})
	parse := tasks.Define("parse", func(_ context.Context, _ string) (int, error) {
		<-start
		return 0, errors.New("not a number")
	})
	pool, done := examplePool(parse)
	defer done()

	ctx := context.Background()
	result, err := producer.ApplyAsync(ctx, pool, parse, "x")
	if err != nil {
		log.Fatal(err)
	}
	_, err = result.Successful()
	fmt.Println(result.Ready(), errors.Is(err, results.ErrNotReady))

	close(start)
	<-result.Done()
	ok, err := result.Successful()
	fmt.Println(result.Ready(), ok, err)
	// Output:
	// false true
	// true false <nil>
}

// Exactly one of the two callbacks runs, exactly once, before Done closes.
func ExampleAsyncResult_OnSuccess() {
	start := make(chan struct{})
	upper := tasks.Define("upper", func(_ context.Context, s string) (string, error) {
		<-start
		return strings.ToUpper(s), nil
	})
	pool, done := examplePool(upper)
	defer done()

	result, err := producer.ApplyAsync(context.Background(), pool, upper, "hello")
	if err != nil {
		log.Fatal(err)
	}
	result.OnSuccess(func(s string) { fmt.Println("got", s) })
	result.OnError(func(err error) { fmt.Println("failed:", err) })
	close(start)
	<-result.Done()
	// Output: got HELLO
}

// A failing map returns the values that exist beside the error that lists the
// calls that failed.
func ExampleMapError() {
	read := tasks.Define("read", func(_ context.Context, name string) (int, error) {
		if strings.HasPrefix(name, "no") {
			return 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return len(name), nil
	})
	pool, done := examplePool(read)
	defer done()

	values, err := producer.Map(context.Background(), pool, read, []string{"yes", "no", "surely", "not"})
	fmt.Println(values)
	fmt.Println(err)
	if failed, ok := errors.AsType[*results.MapError](err); ok {
		for _, e := range failed.Errors {
			fmt.Println(e.Call, e.Kind, e.Type)
		}
	}
	// Output:
	// [3 0 6 0]
	// task "read": 2 of 4 calls failed; call 1: open no: file does not exist; call 3: open not: file does not exist
	// 1 error *fs.PathError
	// 3 error *fs.PathError
}

var errNoStock = errors.New("no stock")

// An error that both sides registered is found by errors.Is at the producer.
func ExampleTaskError() {
	tasks.RegisterError("example.no-stock", errNoStock)
	order := tasks.Define("order", func(_ context.Context, item string) (int, error) {
		return 0, fmt.Errorf("ordering %s: %w", item, errNoStock)
	})
	pool, done := examplePool(order)
	defer done()

	_, err := producer.Apply(context.Background(), pool, order, "tea")
	fmt.Println(err)
	fmt.Println(errors.Is(err, errNoStock))
	// Output:
	// task "order", call 0: ordering tea: no stock
	// true
}

// A panic costs its call, not the worker; the worker's stack comes with it.
func ExampleTaskError_panic() {
	index := tasks.Define("index", func(_ context.Context, i int) (string, error) {
		return []string{"zero", "one"}[i], nil
	})
	pool, done := examplePool(index)
	defer done()

	ctx := context.Background()
	_, err := producer.Apply(ctx, pool, index, 2)
	fmt.Println(err)
	if e, ok := errors.AsType[*results.TaskError](err); ok {
		fmt.Println(e.Kind, strings.Contains(e.Stack, "ExampleTaskError_panic"))
	}
	fmt.Println(producer.Apply(ctx, pool, index, 1))
	// Output:
	// task "index", call 0: panic: runtime error: index out of range [2] with length 2
	// panic true
	// one <nil>
}

// Watch follows a job until it is over.
func ExampleMapResult_Watch() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	ctx := context.Background()
	result, err := producer.MapAsync(ctx, pool, square, []int{1, 2, 3})
	if err != nil {
		log.Fatal(err)
	}
	var last results.Progress
	for p := range result.Watch(ctx) {
		last = p // a progress bar would draw p.Done of p.Calls
	}
	fmt.Printf("%d of %d, %d failed, ended: %t\n", last.Done, last.Calls, last.Failed, last.Ended)
	// Output: 3 of 3, 0 failed, ended: true
}

// Cancel ends a job for everybody who waits for it.
func ExampleAsyncResult_Cancel() {
	forever := tasks.Define("forever", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	})
	pool, done := examplePool(forever)
	defer done()

	ctx := context.Background()
	result, err := producer.ApplyAsync(ctx, pool, forever, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := result.Cancel(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = result.Get(ctx)
	fmt.Println(errors.Is(err, results.ErrCanceled))
	// Output: true
}
