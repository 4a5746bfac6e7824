package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
)

// The tasks. Every system has all three.
const (
	square = "square" // of an int
	sleep  = "sleep"  // for nap, then the square of an int
	flip   = "flip"   // every bit of a string of bytes
)

// nap is how long a call of sleep takes.
const nap = 10 * time.Millisecond

// system is one way to run calls elsewhere: distpool, or one of its peers.
type system interface {
	// work serves calls until ctx ends.
	work(ctx context.Context, s settings) error
	// open connects a producer.
	open(ctx context.Context, s settings) (client, error)
}

// client is the producer's side of a system. It is safe for concurrent use.
// task is square or sleep.
type client interface {
	// apply runs one call and waits for its value.
	apply(ctx context.Context, task string, arg int) (int, error)
	// applyAsync submits one call.
	applyAsync(ctx context.Context, task string, arg int) (pending[int], error)
	// mapAsync submits one call for each argument, chunk of them together; 0 is as
	// the system likes it.
	mapAsync(ctx context.Context, task string, args []int, chunk int) (pending[[]int], error)
	// mapAll is mapAsync and its values, in the order of args.
	mapAll(ctx context.Context, task string, args []int, chunk int) ([]int, error)
	// stream runs square on the ints from 0 to n-1 and yields the values in any
	// order, in memory that does not depend on n.
	stream(ctx context.Context, n, chunk int) iter.Seq2[int, error]
	// flip runs one call of flip and waits for its value.
	flip(ctx context.Context, data []byte) ([]byte, error)
	// close ends what is left and releases what the client holds.
	close(ctx context.Context) error
}

// pending is a call or a map whose value is not here yet.
type pending[T any] interface {
	// get waits for the value.
	get(ctx context.Context) (T, error)
	// ready says, without waiting, whether get would return at once.
	ready() bool
	// forget removes what Redis still has of it.
	forget(ctx context.Context) error
}

var systems = map[string]system{
	"distpool":            distpoolSystem{},
	"asynq-stock":         asynqStock,
	"asynq-tuned":         asynqTuned,
	"asynq-tuned-further": asynqTunedFurther,
	"asynq-ten-servers":   asynqTenServers,
	"asynq-32-servers":    asynq32Servers,
	"floor":               floorSystem{},
}

// implementations lists what -impl may name.
func implementations() []string {
	names := slices.Clone(pythons)
	for name := range systems {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func findSystem(impl string) (system, error) {
	sys, ok := systems[impl]
	if !ok {
		return nil, usagef("-impl is %q; here it may be one of %v", impl, implementations())
	}
	return sys, nil
}

// warm makes sure that a worker answers, and fills the caches on the way.
func warm(ctx context.Context, c client) error {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i := range 3 {
		v, err := c.apply(limited, square, i+7)
		if err != nil {
			if ctx.Err() == nil && limited.Err() != nil {
				return fmt.Errorf("no worker has answered within 30 s; start one with the same -impl: bench worker (%w)", err)
			}
			return err
		}
		if err := checkSquare(v, i+7); err != nil {
			return err
		}
	}
	return nil
}

// within opens a producer, uses it and closes it.
func within(ctx context.Context, sys system, s settings, use func(client) error) error {
	c, err := sys.open(ctx, s)
	if err != nil {
		return err
	}
	err = use(c)
	// Also when ctx has ended: nothing shall be left in Redis.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if cerr := c.close(ctx); err == nil {
		err = cerr
	}
	return err
}
