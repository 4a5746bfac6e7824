package results_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Progress costs no round trip: ask as often as you like.
func ExampleMapResult_Progress() {
	open := make(chan struct{})
	wait := tasks.Define("wait", func(_ context.Context, n int) (int, error) {
		if n > 0 {
			<-open
		}
		return n, nil
	})
	pool, done := examplePool(wait)
	defer done()

	ctx := context.Background()
	result, err := producer.MapAsync(ctx, pool, wait, []int{0, 0, 1, 1}, producer.ChunkSize(1))
	if err != nil {
		log.Fatal(err)
	}
	for p := range result.Watch(ctx) { // until two are over and two run
		if p.Done == 2 && p.Running == 2 {
			break
		}
	}
	p := result.Progress()
	fmt.Printf("%d of %d done, %d running, no worker: %t\n", p.Done, p.Calls, p.Running, p.NoWorker)

	close(open)
	<-result.Done()
	p = result.Progress()
	fmt.Printf("%d of %d done, %d running, %v left\n", p.Done, p.Calls, p.Running, p.Left)
	// Output:
	// 2 of 4 done, 2 running, no worker: false
	// 4 of 4 done, 0 running, 0s left
}

// Done is for select, beside whatever else a program waits for.
func ExampleAsyncResult_Done() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	ctx := context.Background()
	result, err := producer.ApplyAsync(ctx, pool, square, 7)
	if err != nil {
		log.Fatal(err)
	}
	select {
	case <-result.Done():
		fmt.Println(result.Get(ctx))
	case <-time.After(time.Minute):
		fmt.Println("that takes long")
	}
	// Output: 49 <nil>
}

// Wait ends with its context, and may be called again.
func ExampleAsyncResult_Wait() {
	open := make(chan struct{})
	wait := tasks.Define("wait", func(_ context.Context, n int) (int, error) {
		<-open
		return n, nil
	})
	pool, done := examplePool(wait)
	defer done()

	result, err := producer.ApplyAsync(context.Background(), pool, wait, 1)
	if err != nil {
		log.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	fmt.Println(errors.Is(result.Wait(short), results.ErrTimeout), result.Ready())
	close(open)
	fmt.Println(result.Wait(context.Background()), result.Ready())
	// Output:
	// true false
	// <nil> true
}

// Forget removes a job now instead of after its time to live.
func ExampleAsyncResult_Forget() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	ctx := context.Background()
	result, err := producer.ApplyAsync(ctx, pool, square, 7)
	if err != nil {
		log.Fatal(err)
	}
	<-result.Done()
	if err := result.Forget(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Get(ctx)) // the handle keeps what it has
	_, err = producer.Attach(ctx, pool, square, result.ID())
	fmt.Println(errors.Is(err, results.ErrUnknownJob))
	// Output:
	// 49 <nil>
	// true
}
