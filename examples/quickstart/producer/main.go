// The producer: submits calls and gets their values.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/distpool/distpool/examples/quickstart/jobs"
	"github.com/distpool/distpool/producer"
)

func main() {
	ctx := context.Background()
	pool, err := producer.Open(ctx, producer.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Terminate(ctx)

	// One call, waited for.
	n, err := producer.Apply(ctx, pool, jobs.CountWords, "to be or not to be")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n)

	// One call for each text, spread over all workers. The handle is the future.
	handle, err := producer.MapAsync(ctx, pool, jobs.CountWords, []string{"a", "b c", "d e f"})
	if err != nil {
		log.Fatal(err)
	}
	counts, err := handle.Get(ctx) // []int, in the order of the texts
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(counts)
}
