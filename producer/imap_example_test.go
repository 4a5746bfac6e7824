package producer_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// The input may be infinite: it is read no further ahead than the window.
func ExampleIMap() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	naturals := func(yield func(int) bool) {
		for n := 0; ; n++ {
			if !yield(n) {
				return
			}
		}
	}
	for v, err := range producer.IMap(context.Background(), pool, square, naturals) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if v > 50 {
			break // cancels what is on its way
		}
		fmt.Print(v, " ")
	}
	// Output: 0 1 4 9 16 25 36 49
}

// A failing call is one pair, and the stream goes on.
func ExampleIMap_errors() {
	half := tasks.Define("half", func(_ context.Context, n int) (int, error) {
		if n%2 != 0 {
			return 0, fmt.Errorf("%d is odd", n)
		}
		return n / 2, nil
	})
	pool, done := examplePool(half)
	defer done()

	for v, err := range producer.IMap(context.Background(), pool, half, slices.Values([]int{2, 3, 4})) {
		fmt.Println(v, err)
	}
	// Output:
	// 1 <nil>
	// 0 task "half", call 1: 3 is odd
	// 2 <nil>
}

// Values come as calls complete; a slow call holds up no other.
func ExampleIMapUnordered() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	sum := 0
	for v, err := range producer.IMapUnordered(context.Background(), pool, square, slices.Values([]int{1, 2, 3, 4})) {
		if err != nil {
			fmt.Println(err)
			return
		}
		sum += v
	}
	fmt.Println(sum)
	// Output: 30
}

// A window bounds how far the input is read ahead of the loop.
func ExampleWindow() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	read := 0
	naturals := func(yield func(int) bool) {
		for ; ; read++ {
			if !yield(read) {
				return
			}
		}
	}
	taken := 0
	for range producer.IMap(context.Background(), pool, square, naturals, producer.Window(8)) {
		if taken++; taken == 10 {
			break
		}
	}
	fmt.Println(read <= taken+8)
	// Output: true
}
