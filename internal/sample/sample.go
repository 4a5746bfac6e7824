// Package sample has the tasks that the worker binary, the demo and the tests
// run. Each is small, and stands for a kind of task: one that waits, one that
// computes, one that reads a file, one that fails.
package sample

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/distpool/distpool/tasks"
)

// SleepRandom draws a number from [0, 1), sleeps for so many seconds, and
// returns it. Its argument says nothing: null and {} do.
var SleepRandom = tasks.Define("sleep_random", func(ctx context.Context, _ struct{}) (float64, error) {
	return sleep(ctx, rand.Float64())
})

// AddRandom returns its argument plus a random number from [0, 1).
var AddRandom = tasks.Define("add_random", func(_ context.Context, n int) (float64, error) {
	return float64(n) + rand.Float64(), nil
})

// Add3Random returns the sum of its three arguments and of a random number from
// [0, 1).
var Add3Random = tasks.Define3("add3_random", func(_ context.Context, a, b, c int) (float64, error) {
	return float64(a) + float64(b) + float64(c) + rand.Float64(), nil
})

// Square returns the square of its argument, and an error where that does not
// fit into an int.
var Square = tasks.Define("square", func(_ context.Context, n int) (int, error) {
	p := n * n
	if n != 0 && p/n != n {
		return 0, tasks.Permanent(fmt.Errorf("the square of %d does not fit into %d bits", n, strconv.IntSize))
	}
	return p, nil
})

// WordCount counts the lines, words and bytes of a file of the worker's machine,
// given by its path.
var WordCount = tasks.Define("word_count", CountFile)

// Sleep sleeps for the given number of seconds and returns that number.
var Sleep = tasks.Define("sleep", sleep)

// Fail returns an error with the given message.
var Fail = tasks.Define("fail", func(_ context.Context, message string) (struct{}, error) {
	return struct{}{}, errors.New(message)
})

// Panic panics with the given message.
var Panic = tasks.Define("panic", func(_ context.Context, message string) (struct{}, error) {
	panic(message)
})

// All lists every sample task, with further options.
func All(opts ...tasks.Option) []tasks.Runner {
	return []tasks.Runner{
		SleepRandom.With(opts...), AddRandom.With(opts...), Add3Random.With(opts...), Square.With(opts...),
		WordCount.With(opts...), Sleep.With(opts...), Fail.With(opts...), Panic.With(opts...),
	}
}

// maxSleep is what a time.Duration can hold, in seconds.
const maxSleep = float64(math.MaxInt64 / int64(time.Second))

// sleep sleeps until the time is over or the context ends.
func sleep(ctx context.Context, seconds float64) (float64, error) {
	if !(seconds >= 0 && seconds <= maxSleep) {
		return 0, tasks.Permanent(fmt.Errorf("cannot sleep for %v seconds; use 0 to %.0f", seconds, maxSleep))
	}
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return seconds, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
