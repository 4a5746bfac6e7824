package producer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Only the call that failed runs again.
func ExampleRetry() {
	fetch := tasks.Define("fetch", func(ctx context.Context, page int) (string, error) {
		info := tasks.Info(ctx)
		if page == 2 && info.Attempt < 3 {
			return "", errors.New("busy")
		}
		return fmt.Sprintf("page %d in attempt %d", page, info.Attempt), nil
	})
	pool, done := examplePool(fetch)
	defer done()

	pages, err := producer.Map(context.Background(), pool, fetch, []int{1, 2, 3},
		producer.Retry(4, tasks.Every(10*time.Millisecond)))
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range pages {
		fmt.Println(p)
	}
	// Output:
	// page 1 in attempt 1
	// page 2 in attempt 3
	// page 3 in attempt 1
}

// When no attempt succeeds, the error is the last one, with their number.
func ExampleRetry_inVain() {
	fetch := tasks.Define("fetch", func(ctx context.Context, _ string) (string, error) {
		return "", fmt.Errorf("attempt %d failed", tasks.Info(ctx).Attempt)
	})
	pool, done := examplePool(fetch)
	defer done()

	_, err := producer.Apply(context.Background(), pool, fetch, "x", producer.Retry(2, tasks.Every(time.Millisecond)))
	if e, ok := errors.AsType[*results.TaskError](err); ok {
		fmt.Println(e.Message, "of", e.Attempts)
	}
	// Output: attempt 3 failed of 3
}

// A call that respects its context ends when its time is over, and the outcome
// says why.
func ExampleCallTimeout() {
	wait := tasks.Define("wait", func(ctx context.Context, d time.Duration) (string, error) {
		select {
		case <-time.After(d):
			return "waited", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	pool, done := examplePool(wait)
	defer done()

	_, err := producer.Map(context.Background(), pool, wait, []time.Duration{0, time.Hour}, producer.CallTimeout(50*time.Millisecond))
	fmt.Println(err)
	// Output: task "wait": 1 of 2 calls failed; call 1: timed out after its CallTimeout of 50ms: context deadline exceeded
}

// A call that ignores its context is given up. Its goroutine cannot be stopped,
// so the worker finishes its other calls and ends, to be started afresh.
func ExampleHardTimeout() {
	over := make(chan struct{})
	stuck := tasks.Define("stuck", func(context.Context, int) (int, error) {
		<-over // for ever, as far as the pool is concerned
		return 0, nil
	})
	kit, err := pooltest.Open([]tasks.Runner{stuck})
	if err != nil {
		log.Fatal(err)
	}

	_, err = producer.Apply(context.Background(), kit.Pool, stuck, 0, producer.HardTimeout(50*time.Millisecond))
	fmt.Println(err)
	close(over)
	fmt.Println(kit.Close())
	// Output:
	// task "stuck", call 0: the call still ran after its HardTimeout of 50ms and was given up
	// a call did not end in time; start the worker process afresh
}

// Calls of a chunk run one after the other on one worker.
func ExampleChunkSize() {
	where := tasks.Define("where", func(ctx context.Context, _ int) (int, error) { return tasks.Info(ctx).Chunk, nil })
	pool, done := examplePool(where)
	defer done()

	fmt.Println(producer.Map(context.Background(), pool, where, make([]int, 7), producer.ChunkSize(3)))
	// Output: [0 0 0 1 1 1 2] <nil>
}

// A queue reaches the workers that serve it, and no others.
func ExampleQueue() {
	where := tasks.Define("where", func(ctx context.Context, _ int) (string, error) { return tasks.Info(ctx).Queue, nil })
	kit, err := pooltest.Open([]tasks.Runner{where}, pooltest.Queues("reports"))
	if err != nil {
		log.Fatal(err)
	}
	defer kit.Close()

	fmt.Println(producer.Apply(context.Background(), kit.Pool, where, 0))
	fmt.Println(producer.Apply(context.Background(), kit.Pool, where, 0, producer.Queue("reports")))
	// Output:
	// distpool <nil>
	// reports <nil>
}

// After its time to live a result is gone from Redis. Handles keep what they have.
func ExampleResultTTL() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	kit, err := pooltest.Open([]tasks.Runner{square})
	if err != nil {
		log.Fatal(err)
	}
	defer kit.Close()

	ctx := context.Background()
	result, err := producer.ApplyAsync(ctx, kit.Pool, square, 7, producer.ResultTTL(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	<-result.Done()
	kit.Advance(time.Minute)
	fmt.Println(result.Get(ctx))
	_, err = producer.Attach(ctx, kit.Pool, square, result.ID())
	fmt.Println(errors.Is(err, results.ErrUnknownJob))
	// Output:
	// 49 <nil>
	// true
}

// At is Delay to a time of the clock. One that has passed is now.
func ExampleAt() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	start := time.Now().Add(100 * time.Millisecond)
	result, err := producer.ApplyAsync(context.Background(), pool, square, 7, producer.At(start))
	if err != nil {
		log.Fatal(err)
	}
	v, err := result.Get(context.Background())
	fmt.Println(v, err, "too early:", time.Now().Before(start))
	// Output: 49 <nil> too early: false
}

// The ID of a map is all that another process needs.
func ExampleAttachMap() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	ctx := context.Background()
	result, err := producer.MapAsync(ctx, pool, square, []int{1, 2, 3})
	if err != nil {
		log.Fatal(err)
	}
	again, err := producer.AttachMap(ctx, pool, square, result.ID())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.Get(ctx))
	// Output: [1 4 9] <nil>
}
