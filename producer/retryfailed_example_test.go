package producer_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// The calls that failed run again, once what they lacked is there; the others do not.
func ExampleRetryFailed() {
	var online atomic.Bool
	fetch := tasks.Define("fetch", func(_ context.Context, n int) (string, error) {
		if n%2 == 1 && !online.Load() {
			return "", fmt.Errorf("page %d is offline", n)
		}
		return fmt.Sprintf("page %d", n), nil
	})
	pool, done := examplePool(fetch)
	defer done()
	ctx := context.Background()

	first, err := producer.MapAsync(ctx, pool, fetch, []int{0, 1, 2, 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	pages, err := first.Get(ctx)
	fmt.Printf("%q %v\n", pages, err != nil)

	online.Store(true)
	again, err := producer.RetryFailed(ctx, pool, fetch, first.ID())
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := again.Get(ctx)
	for i, call := range again.Calls {
		pages[call] = values[i]
	}
	fmt.Printf("%q %v\n", pages, err)
	// Output:
	// ["page 0" "" "page 2" ""] true
	// ["page 0" "page 1" "page 2" "page 3"] <nil>
}
