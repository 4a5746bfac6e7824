package asynqhandler_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/asynqhandler"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// A stock asynq.Server runs distpool's tasks, and its own on another queue.
func Example() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	own := asynq.NewServeMux()
	own.HandleFunc("mail", func(context.Context, *asynq.Task) error { return nil })

	redis, err := miniredis.Run() // a Redis for this example alone
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()

	ctx := context.Background()
	handler, err := asynqhandler.New(ctx, asynqhandler.Config{
		Worker: worker.Config{Redis: redis.Addr(), Concurrency: 10, Queues: map[string]int{"numbers": 1}},
		Others: own,
	}, square)
	if err != nil {
		log.Fatal(err)
	}
	queues := handler.Queues()
	queues["mail"] = 2
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: redis.Addr()}, asynq.Config{
		Concurrency: 10, Queues: queues, TaskCheckInterval: 50 * time.Millisecond, LogLevel: asynq.FatalLevel,
	})
	if err := server.Start(handler); err != nil {
		log.Fatal(err)
	}

	pool, err := producer.Open(ctx, producer.Config{Redis: redis.Addr(), Queue: "numbers"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(producer.Map(ctx, pool, square, []int{1, 2, 3}))
	if err := pool.Terminate(ctx); err != nil {
		log.Fatal(err)
	}

	server.Stop()
	fmt.Println("drained:", handler.Close())
	server.Shutdown()
	// Output:
	// [1 4 9] <nil>
	// drained: <nil>
}
