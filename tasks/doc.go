// Package tasks defines the functions that distpool runs. It knows nothing of
// Redis: a package of tasks can be written, tested and linked anywhere.
//
// # Tasks
//
// A task is a function with a name. [Define] gives it one:
//
//	var Square = tasks.Define("square", func(ctx context.Context, n int) (int, error) {
//		return n * n, nil
//	})
//
// The worker is started with the task and the producer submits by it, so both
// link the package that holds the variable. The types come from the function:
// producer.Map(ctx, pool, Square, []int{1, 2, 3}) returns a []int, and anything
// else does not compile. A producer that must not link the function, because of
// what that would drag in, uses [Declare] instead:
//
//	var Square = tasks.Declare[int, int]("square")
//
// The name is what travels. It must stay the same while jobs are under way,
// whatever the function or the variable are called.
//
// # Several arguments
//
// [Define2] and [Define3] take functions of two and three arguments. The calls
// of such a task are tuples, [Args2] and [Args3], which [Of2] and [Of3] build one
// by one, and [Zip2] and [Zip3] from slices:
//
//	var Scale = tasks.Define2("scale", func(ctx context.Context, x float64, by int) (float64, error) {
//		return x * float64(by), nil
//	})
//
//	producer.Apply(ctx, pool, Scale, tasks.Of2(1.5, 2))
//	producer.Starmap(ctx, pool, Scale, tasks.Zip2(xs, factors))
//
// # How arguments and values travel
//
// Through a [Codec]: [JSON] unless [WithCodec] says otherwise. JSON keeps 64-bit
// integers exact and nil apart from empty; its documentation lists what it
// refuses. A tuple is an array, [1.5,2], so that a call can be written by hand.
//
// What does not fit costs no more than its own call. An argument that the
// worker cannot decode fails that call with an [*ArgError], which names the task
// and the argument; a value that cannot be encoded fails that call too. (A codec
// that is no [ArrayCodec] cannot tell a bad argument from its neighbors: there
// the calls of the whole chunk fail.)
//
// # Errors
//
// An error that a task returns arrives at the producer as a message. Three
// things give it more meaning:
//
//   - [Permanent] keeps the call from being retried;
//   - [RetryAfter] sets the wait before the next attempt;
//   - [RegisterError] gives a sentinel error a code, so that errors.Is finds it at
//     the producer too.
//
// # The call that is running
//
// [Info] tells a task's function which call of which job it runs, and in which
// attempt. Calls run at least once: after a crash a call can run again although
// it had already finished, and a function with side effects can use the job and
// the index of the call as the key that makes them happen once.
package tasks
