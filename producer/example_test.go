package producer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// examplePool opens a pool whose calls run in this process. done releases it.
func examplePool(ts ...tasks.Runner) (pool *producer.Pool, done func()) {
	kit, err := pooltest.Open(ts)
	if err != nil {
		log.Fatal(err)
	}
	return kit.Pool, func() {
		if err := kit.Close(); err != nil {
			log.Fatal(err)
		}
	}
}

func ExampleApply() {
	upper := tasks.Define("upper", func(_ context.Context, s string) (string, error) {
		return strings.ToUpper(s), nil
	})
	pool, done := examplePool(upper)
	defer done()

	fmt.Println(producer.Apply(context.Background(), pool, upper, "hello"))
	// Output: HELLO <nil>
}

func ExampleApplyAsync() {
	upper := tasks.Define("upper", func(_ context.Context, s string) (string, error) {
		return strings.ToUpper(s), nil
	})
	pool, done := examplePool(upper)
	defer done()

	ctx := context.Background()
	result, err := producer.ApplyAsync(ctx, pool, upper, "hello")
	if err != nil {
		log.Fatal(err) // not submitted
	}
	fmt.Println("the call is on its way")
	fmt.Println(result.Get(ctx))
	// Output:
	// the call is on its way
	// HELLO <nil>
}

func ExampleMap() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	squares, err := producer.Map(context.Background(), pool, square, []int{0, 1, 2, 3, 4})
	fmt.Println(squares, err)
	// Output: [0 1 4 9 16] <nil>
}

// A call that fails costs only itself.
func ExampleMap_errors() {
	half := tasks.Define("half", func(_ context.Context, n int) (int, error) {
		if n%2 != 0 {
			return 0, fmt.Errorf("%d is odd", n)
		}
		return n / 2, nil
	})
	pool, done := examplePool(half)
	defer done()

	halves, err := producer.Map(context.Background(), pool, half, []int{2, 3, 4, 5})
	fmt.Println(halves)
	if failed, ok := errors.AsType[*results.MapError](err); ok {
		for _, e := range failed.Errors {
			fmt.Printf("call %d: %s\n", e.Call, e.Message)
		}
	}
	// Output:
	// [1 0 2 0]
	// call 1: 3 is odd
	// call 3: 5 is odd
}

func ExampleMapAsync() {
	length := tasks.Define("length", func(_ context.Context, s string) (int, error) { return len(s), nil })
	pool, done := examplePool(length)
	defer done()

	ctx := context.Background()
	// Two calls travel together: three deliveries.
	result, err := producer.MapAsync(ctx, pool, length, []string{"a", "bb", "ccc", "dddd", "eeeee"}, producer.ChunkSize(2))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Get(ctx))
	// Output: [1 2 3 4 5] <nil>
}

func ExampleStarmap() {
	power := tasks.Define2("power", func(_ context.Context, base, exponent int) (int, error) {
		p := 1
		for range exponent {
			p *= base
		}
		return p, nil
	})
	pool, done := examplePool(power)
	defer done()

	bases, exponents := []int{2, 3, 10}, []int{5, 2, 3}
	fmt.Println(producer.Starmap(context.Background(), pool, power, tasks.Zip2(bases, exponents)))
	// Output: [32 9 1000] <nil>
}

func ExampleStarmapAsync() {
	sum := tasks.Define3("sum", func(_ context.Context, a, b, c int) (int, error) { return a + b + c, nil })
	pool, done := examplePool(sum)
	defer done()

	ctx := context.Background()
	var args []tasks.Args3[int, int, int]
	for i := range 5 {
		args = append(args, tasks.Of3(i, i*2, i*3))
	}
	result, err := producer.StarmapAsync(ctx, pool, sum, args)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Get(ctx))
	// Output: [0 6 12 18 24] <nil>
}

// Whoever knows a job's ID can get its result, from any process.
func ExampleAttach() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	ctx := context.Background()
	submitted, err := producer.ApplyAsync(ctx, pool, square, 12)
	if err != nil {
		log.Fatal(err)
	}
	id := submitted.ID()

	attached, err := producer.Attach(ctx, pool, square, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(attached.Get(ctx))

	_, err = producer.Attach(ctx, pool, square, "nonsense")
	fmt.Println(errors.Is(err, results.ErrUnknownJob))
	// Output:
	// 144 <nil>
	// true
}

// Close refuses further submissions, Join waits for those that were accepted.
func ExamplePool_Join() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	ctx := context.Background()
	var got []int // callbacks run on one goroutine, and Join comes after all of them
	for n := range 4 {
		result, err := producer.ApplyAsync(ctx, pool, square, n)
		if err != nil {
			log.Fatal(err)
		}
		result.OnSuccess(func(v int) { got = append(got, v) })
	}
	pool.Close()
	if err := pool.Join(ctx); err != nil {
		log.Fatal(err)
	}
	slices.Sort(got)
	fmt.Println(got)

	_, err := producer.ApplyAsync(ctx, pool, square, 5)
	fmt.Println(errors.Is(err, producer.ErrClosed))
	// Output:
	// [0 1 4 9]
	// true
}

// Terminate cancels what is not over.
func ExamplePool_Terminate() {
	forever := tasks.Define("forever", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done() // the worker cancels it when the job is canceled
		return 0, context.Cause(ctx)
	})
	pool, done := examplePool(forever)
	defer done()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result, err := producer.ApplyAsync(ctx, pool, forever, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := pool.Terminate(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = result.Get(ctx)
	fmt.Println(errors.Is(err, results.ErrCanceled))
	// Output: true
}

// The same key is the same job, whoever submits it: here, one call.
func ExampleID() {
	runs := 0
	charge := tasks.Define("charge", func(_ context.Context, order string) (string, error) {
		runs++
		return fmt.Sprintf("%s charged, run %d", order, runs), nil
	})
	pool, done := examplePool(charge)
	defer done()

	ctx := context.Background()
	for range 2 {
		fmt.Println(producer.Apply(ctx, pool, charge, "order 7", producer.ID("charge-7")))
	}
	_, err := producer.Apply(ctx, pool, charge, "order 8", producer.ID("charge-7"))
	fmt.Println(errors.Is(err, producer.ErrIDTaken))
	// Output:
	// order 7 charged, run 1 <nil>
	// order 7 charged, run 1 <nil>
	// true
}

func ExampleDelay() {
	now := tasks.Define("now", func(context.Context, int) (time.Time, error) { return time.Now(), nil })
	pool, done := examplePool(now)
	defer done()

	begin := time.Now()
	ran, err := producer.Apply(context.Background(), pool, now, 0, producer.Delay(300*time.Millisecond))
	fmt.Println(ran.Sub(begin) >= 300*time.Millisecond, err)
	// Output: true <nil>
}

// Nobody serves this queue: the job is canceled, and nobody waits for ever.
func ExampleExpiresIn() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	_, err := producer.Apply(context.Background(), pool, square, 7,
		producer.Queue("nobody"), producer.ExpiresIn(100*time.Millisecond))
	fmt.Println(errors.Is(err, results.ErrNotStarted), errors.Is(err, results.ErrCanceled))
	// Output: true true
}

func ExamplePool_Release() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pool, done := examplePool(square)
	defer done()

	ctx := context.Background()
	// Delayed, so that it is not over yet.
	result, err := producer.ApplyAsync(ctx, pool, square, 7, producer.Delay(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	pool.Release()
	_, err = result.Get(ctx)
	fmt.Println(errors.Is(err, producer.ErrClosed)) // the job itself goes on
	// Output: true
}
