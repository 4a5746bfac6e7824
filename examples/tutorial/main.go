// Command tutorial is the three classic programs of Python's
// multiprocessing.Pool (apply_async, map_async and starmap_async), one after the
// other. Run it with
//
//	go run ./examples/tutorial
//
// Without REDIS_URL it embeds a Redis and runs the worker in its own process.
// With REDIS_URL it submits to that Redis; start workers for it, on any machine
// that reaches it, with
//
//	go run ./examples/tutorial worker
package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// The tasks. A worker is started with them, the producer submits by them.
var (
	// Draw draws a number, works that many seconds, and returns it.
	Draw = tasks.Define("tutorial.draw", func(ctx context.Context, _ struct{}) (float64, error) {
		value := rand.Float64()
		select {
		case <-time.After(time.Duration(value * float64(time.Second))):
			return value, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	})

	// AddNoise adds a random number to its argument.
	AddNoise = tasks.Define("tutorial.add_noise", func(_ context.Context, arg int) (float64, error) {
		return float64(arg) + rand.Float64(), nil
	})

	// Sum3 adds its three arguments and a random number.
	Sum3 = tasks.Define3("tutorial.sum3", func(_ context.Context, a, b, c int) (float64, error) {
		return float64(a+b+c) + rand.Float64(), nil
	})

	all = []tasks.Runner{Draw, AddNoise, Sum3}
)

// queue is the tutorial's own, so that only workers that know its tasks serve it.
const queue = "tutorial"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		return worker.Run(ctx, worker.Config{Concurrency: 4, Queues: map[string]int{queue: 1}}, all...)
	}
	if os.Getenv("REDIS_URL") == "" {
		kit, err := pooltest.Open(all)
		if err != nil {
			return err
		}
		defer kit.Close()
		return produce(ctx, kit.Pool)
	}
	pool, err := producer.Open(ctx, producer.Config{Queue: queue})
	if err != nil {
		return err
	}
	return produce(ctx, pool)
}

// produce is the producer: Python's three programs.
func produce(ctx context.Context, pool *producer.Pool) error {
	for _, program := range []func(context.Context, *producer.Pool) error{applyAsync, mapAsync, starmapAsync} {
		if err := program(ctx, pool); err != nil {
			_ = pool.Terminate(context.WithoutCancel(ctx))
			return err
		}
	}
	pool.Close()
	return pool.Join(ctx)
}

func applyAsync(ctx context.Context, pool *producer.Pool) error {
	fmt.Println("apply_async: one call")
	result, err := producer.ApplyAsync(ctx, pool, Draw, struct{}{})
	if err != nil {
		return err
	}
	fmt.Println("Waiting for result...")
	value, err := result.Get(ctx)
	if err != nil {
		return err
	}
	fmt.Println("Got:", value)
	return nil
}

func mapAsync(ctx context.Context, pool *producer.Pool) error {
	fmt.Println("map_async: a call for each argument")
	result, err := producer.MapAsync(ctx, pool, AddNoise, []int{0, 1, 2, 3, 4})
	if err != nil {
		return err
	}
	values, err := result.Get(ctx)
	if err != nil {
		return err
	}
	for _, value := range values {
		fmt.Println("Got:", value)
	}
	return nil
}

func starmapAsync(ctx context.Context, pool *producer.Pool) error {
	fmt.Println("starmap_async: a call for each tuple of arguments")
	var args []tasks.Args3[int, int, int]
	for i := range 5 {
		args = append(args, tasks.Of3(i, i*2, i*3))
	}
	result, err := producer.StarmapAsync(ctx, pool, Sum3, args)
	if err != nil {
		return err
	}
	values, err := result.Get(ctx)
	if err != nil {
		return err
	}
	for _, value := range values {
		fmt.Println("Got:", value)
	}
	return nil
}
