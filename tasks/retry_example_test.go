package tasks_test

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// What a task says about its retries and limits holds for every job of it that
// says nothing else.
func ExampleRetry() {
	flaky := tasks.Define("flaky", func(ctx context.Context, _ int) (int, error) {
		if n := tasks.Info(ctx).Attempt; n < 3 {
			return 0, fmt.Errorf("attempt %d failed", n)
		}
		return 42, nil
	}, tasks.Retry(5, tasks.Backoff{Initial: 5 * time.Millisecond}))
	kit, err := pooltest.Open([]tasks.Runner{flaky})
	if err != nil {
		panic(err)
	}
	defer kit.Close()

	ctx := context.Background()
	fmt.Println(producer.Apply(ctx, kit.Pool, flaky, 0))
	fmt.Println(producer.Apply(ctx, kit.Pool, flaky, 0, producer.Retry(0, tasks.Backoff{}))) // this job: none
	// Output:
	// 42 <nil>
	// 0 task "flaky", call 0: attempt 1 failed
}

// The task's own limit; a job may set another with producer.CallTimeout.
func ExampleCallTimeout() {
	wait := tasks.Define("wait", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}, tasks.CallTimeout(20*time.Millisecond))
	kit, err := pooltest.Open([]tasks.Runner{wait})
	if err != nil {
		panic(err)
	}
	defer kit.Close()

	_, err = producer.Apply(context.Background(), kit.Pool, wait, 0)
	fmt.Println(err)
	// Output: task "wait", call 0: timed out after its CallTimeout of 20ms: the call's time is over
}
