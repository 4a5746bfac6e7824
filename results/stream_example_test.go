package results_test

import (
	"context"
	"fmt"
	"log"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// Values come in order while later calls still run.
func ExampleMapResult_All() {
	gate := make(chan struct{})
	wait := tasks.Define("wait", func(_ context.Context, n int) (string, error) {
		switch n {
		case 1:
			return "", fmt.Errorf("there is no %d", n)
		case 2:
			<-gate
		}
		return fmt.Sprint("result ", n), nil
	})
	pool, done := examplePool(wait)
	defer done()

	ctx := context.Background()
	m, err := producer.MapAsync(ctx, pool, wait, []int{0, 1, 2}, producer.ChunkSize(1))
	if err != nil {
		log.Fatal(err)
	}
	for v, err := range m.All(ctx) {
		if err != nil {
			fmt.Println(err)
			close(gate) // only now the last call goes on
			continue
		}
		fmt.Println(v)
	}
	// Output:
	// result 0
	// task "wait", call 1: there is no 1
	// result 2
}

// Outcomes come in the order of their completion, with their calls' indexes.
func ExampleMapResult_AsCompleted() {
	gate := make(chan struct{})
	wait := tasks.Define("wait", func(_ context.Context, n int) (int, error) {
		if n == 0 {
			<-gate
		}
		return n * 10, nil
	})
	pool, done := examplePool(wait)
	defer done()

	ctx := context.Background()
	m, err := producer.MapAsync(ctx, pool, wait, []int{0, 1}, producer.ChunkSize(1))
	if err != nil {
		log.Fatal(err)
	}
	for i, o := range m.AsCompleted(ctx) {
		if o.Err != nil {
			log.Fatal(o.Err)
		}
		fmt.Println("call", i, "is", o.Value)
		if i == 1 {
			close(gate)
		}
	}
	// Output:
	// call 1 is 10
	// call 0 is 0
}
