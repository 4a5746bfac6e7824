package worker_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// exampleRedis embeds a Redis, for the worker and the producer to share.
func exampleRedis() (addr string, done func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	return server.Addr(), server.Close
}

// examplePool opens a pool on the Redis at addr. done releases it.
func examplePool(addr string) (pool *producer.Pool, done func()) {
	ctx := context.Background()
	pool, err := producer.Open(ctx, producer.Config{Redis: addr})
	if err != nil {
		log.Fatal(err)
	}
	return pool, func() {
		if err := pool.Terminate(ctx); err != nil {
			log.Fatal(err)
		}
	}
}

// A worker runs until its context ends, and drains then.
func ExampleRun() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	redis, done := exampleRedis()
	defer done()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ended := make(chan error)
	go func() {
		ended <- worker.Run(ctx, worker.Config{Redis: redis, Concurrency: 10, Grace: 5 * time.Second}, square)
	}()

	pool, closePool := examplePool(redis)
	defer closePool()
	fmt.Println(producer.Map(ctx, pool, square, []int{1, 2, 3}))

	stop() // as a signal does
	fmt.Println("drained:", <-ended)
	// Output:
	// [1 4 9] <nil>
	// drained: <nil>
}

// A task can learn which call it runs.
func ExampleRun_info() {
	where := tasks.Define("where", func(ctx context.Context, item string) (string, error) {
		info := tasks.Info(ctx)
		return fmt.Sprintf("%s is call %d of %d, from queue %s", item, info.Call, info.Calls, info.Queue), nil
	})
	redis, done := exampleRedis()
	defer done()

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		// "mail" is asked first three times as often as "reports".
		ended <- worker.Run(ctx, worker.Config{Redis: redis, Queues: map[string]int{"mail": 3, "reports": 1}}, where)
	}()

	pool, closePool := examplePool(redis)
	defer closePool()
	lines, err := producer.Map(ctx, pool, where, []string{"a", "b"}, producer.Queue("mail"))
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range lines {
		fmt.Println(line)
	}
	stop()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output:
	// a is call 0 of 2, from queue mail
	// b is call 1 of 2, from queue mail
}

// poolKey is the context key of the pool that calls submit to.
type poolKey struct{}

// A task may use the pool itself. While it waits it holds its slot, so there must
// be others for the nested jobs: here on a queue with workers of its own.
func ExampleRun_nested() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	sumOfSquares := tasks.Define("sum-of-squares", func(ctx context.Context, numbers []int) (sum int, err error) {
		pool, _ := ctx.Value(poolKey{}).(*producer.Pool)
		squares, err := producer.Map(ctx, pool, square, numbers, producer.Queue("parts"))
		if err != nil {
			return 0, err // results.ErrNoSlot, if all slots of "parts" were held by calls like this one
		}
		for _, n := range squares {
			sum += n
		}
		return sum, nil
	})
	redis, done := exampleRedis()
	defer done()
	pool, closePool := examplePool(redis)
	defer closePool()

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			Redis: redis, Concurrency: 1,
			Init: func(ctx context.Context) (context.Context, error) {
				return context.WithValue(ctx, poolKey{}, pool), nil
			},
		}, sumOfSquares)
	}()
	go func() {
		ended <- worker.Run(ctx, worker.Config{Redis: redis, Concurrency: 4, Queues: map[string]int{"parts": 1}}, square)
	}()

	fmt.Println(producer.Map(ctx, pool, sumOfSquares, [][]int{{1, 2, 3}, {3, 4}}))
	stop()
	fmt.Println(<-ended, <-ended)
	// Output:
	// [14 25] <nil>
	// <nil> <nil>
}
