package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

type tableKey struct{}

// Init opens what all calls of a worker share, Shutdown closes it.
func ExampleConfig_init() {
	look := tasks.Define("look", func(ctx context.Context, name string) (int, error) {
		table := ctx.Value(tableKey{}).(map[string]int)
		return table[name], nil
	})
	redis, done := exampleRedis()
	defer done()

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			Redis: redis,
			Init: func(ctx context.Context) (context.Context, error) {
				fmt.Println("opened")
				return context.WithValue(ctx, tableKey{}, map[string]int{"answer": 42}), nil
			},
			Shutdown: func(ctx context.Context) error {
				fmt.Println("closed, with", len(ctx.Value(tableKey{}).(map[string]int)), "entry")
				return nil
			},
		}, look)
	}()

	pool, closePool := examplePool(redis)
	defer closePool()
	v, err := producer.Apply(ctx, pool, look, "answer")
	fmt.Println(v, err)
	stop()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output:
	// opened
	// 42 <nil>
	// closed, with 1 entry
}

// MaxCalls ends a worker after so many calls, for a service manager to start it
// afresh: here, a loop.
func ExampleConfig_maxCalls() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	redis, done := exampleRedis()
	defer done()

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int)
	go func() {
		starts := 0
		for ctx.Err() == nil {
			starts++
			if err := worker.Run(ctx, worker.Config{Redis: redis, Concurrency: 1, MaxCalls: 2}, square); err != nil {
				log.Fatal(err)
			}
		}
		ended <- starts
	}()

	pool, closePool := examplePool(redis)
	defer closePool()
	fmt.Println(producer.Map(ctx, pool, square, []int{1, 2, 3, 4, 5}, producer.ChunkSize(1)))
	stop()
	fmt.Println("started", <-ended, "times")
	// Output:
	// [1 4 9 16 25] <nil>
	// started 3 times
}

// With StrictPriority a queue is served only while those above it are empty.
func ExampleConfig_strictPriority() {
	var order []string // one slot: calls run one after the other
	write := tasks.Define("write", func(ctx context.Context, _ int) (int, error) {
		order = append(order, tasks.Info(ctx).Queue)
		return 0, nil
	})
	redis, done := exampleRedis()
	defer done()
	pool, closePool := examplePool(redis)
	defer closePool()

	ctx, stop := context.WithCancel(context.Background())
	for _, queue := range []string{"low", "high"} {
		if _, err := producer.MapAsync(ctx, pool, write, []int{1, 2}, producer.Queue(queue), producer.ChunkSize(1)); err != nil {
			log.Fatal(err)
		}
	}
	ended := make(chan error)
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			Redis: redis, Concurrency: 1, Queues: map[string]int{"high": 2, "low": 1}, StrictPriority: true,
		}, write)
	}()
	pool.Close()
	if err := pool.Join(ctx); err != nil {
		log.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	fmt.Println(slices.Compact(order))
	// Output: [high low]
}

// Run returns ErrRecycle when a call has passed its HardTimeout. End the process
// then: the call's goroutine ends no other way.
func ExampleRun_recycle() {
	over := make(chan struct{})
	defer close(over)
	stuck := tasks.Define("stuck", func(context.Context, int) (int, error) {
		<-over
		return 0, nil
	}, tasks.HardTimeout(50*time.Millisecond))
	redis, done := exampleRedis()
	defer done()
	pool, closePool := examplePool(redis)
	defer closePool()

	ended := make(chan error)
	go func() {
		ended <- worker.Run(context.Background(), worker.Config{Redis: redis, Grace: time.Second}, stuck)
	}()
	if _, err := producer.ApplyAsync(context.Background(), pool, stuck, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(<-ended, worker.ErrRecycle))
	// Output: true
}
