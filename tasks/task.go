package tasks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/failure"
	"github.com/distpool/distpool/internal/guard"
)

// Task is a named, typed function: the thing that a producer calls and a worker
// runs. [Define] and [Declare] make one; the zero Task is of no use. It is
// immutable, so one Task may be used by any number of goroutines, pools and
// workers at once.
type Task[A, R any] struct {
	name string
	fn   func(context.Context, A) (R, error) // nil when only declared
	opts options

	args   sliceCoder[A]
	values sliceCoder[R]
	tuple  bool // A is a Tuple: errors name the argument inside it

	// zeroTravels reports whether the zero value of R can be encoded, and what
	// comes out of that be decoded.
	zeroTravels func() bool
}

func newTask[A, R any](name string, fn func(context.Context, A) (R, error), opts []Option) *Task[A, R] {
	o := newOptions(opts)
	var zero A
	_, tuple := any(zero).(Tuple)
	mustTravel(name, o.codec, "the argument", reflect.TypeFor[A]())
	mustTravel(name, o.codec, "the result", reflect.TypeFor[R]())
	t := &Task[A, R]{
		name:   name,
		fn:     fn,
		opts:   o,
		args:   newSliceCoder[A](o.codec),
		values: newSliceCoder[R](o.codec),
		tuple:  tuple,
	}
	// Not now: the user's encoding methods may need what init has yet to set up.
	t.zeroTravels = sync.OnceValue(t.values.zeroTravels)
	return t
}

// With returns the task with further options, which win over those that it has. It
// is for programs that know only once they have read their configuration how a
// task is to travel, such as encrypted; t stays as it is.
func (t *Task[A, R]) With(opts ...Option) *Task[A, R] {
	had := func(o *options) { *o = t.opts }
	return newTask(t.name, t.fn, append([]Option{had}, opts...))
}

// Name is the name under which the task is submitted. Workers look it up
// exactly, so it is part of the agreement between producers and workers and
// must not change while jobs are under way.
func (t *Task[A, R]) Name() string { return t.name }

// Codec is the codec in which the task's arguments and values travel.
func (t *Task[A, R]) Codec() Codec { return t.opts.codec }

// Defined reports whether the task has a function. A task that is only
// declared can be submitted, but not run.
func (t *Task[A, R]) Defined() bool { return t.fn != nil }

// Call runs the task's function here, in this goroutine, without any codec or
// worker in between. A task that is only declared has no function to run:
// Call returns an error that says so.
func (t *Task[A, R]) Call(ctx context.Context, arg A) (R, error) {
	if t.fn == nil {
		var zero R
		return zero, errors.New(t.declaredOnly("called"))
	}
	return t.fn(ctx, arg)
}

// EncodeArgs encodes the arguments of consecutive calls as one array, in the
// task's codec. No arguments at all (nil or empty) give an empty array.
//
// An argument that cannot be encoded fails the whole slice: the error is an
// [*ArgError] whose Call is the index of the first such argument in args. A
// caller that encodes a job in pieces adds the start of the piece to it.
func (t *Task[A, R]) EncodeArgs(args []A) ([]byte, error) {
	return t.encodeFor(context.Background(), args, false)
}

func (t *Task[A, R]) encodeFor(ctx context.Context, args []A, raw bool) ([]byte, error) {
	data, err := t.args.encodeFor(ctx, args, raw)
	if err == nil {
		return data, nil
	}
	if _, left := err.(*guard.Left); !left {
		for i := range args {
			if _, ierr := t.args.encode(ctx, args[i:i+1]); ierr != nil {
				return nil, t.argError(i, ierr)
			}
		}
	}
	return nil, guard.About(fmt.Sprintf("arguments of %q: ", t.name), err)
}

// DecodeValues decodes an array of exactly len(dst) values into dst. It
// overwrites whatever dst held, and decodes in place where the codec can. On an
// error dst holds a mixture of zero and decoded values.
//
// Another number of values than len(dst) is an error, and so is a value that
// does not fit R; the error then names the index of the first one when the codec can
// tell (see [ArrayCodec]), and the others are decoded.
//
// A call that failed has a placeholder in the array, and what it decodes to
// means nothing: the zero value of R as a rule, but a copy of another value
// when the zero value of R does not survive the codec. Look up which calls
// failed before using a value.
func (t *Task[A, R]) DecodeValues(data []byte, dst []R) error {
	bad, err := DecodeEach(t, data, dst)
	if err != nil || len(bad) == 0 {
		return err
	}
	i := slices.Min(slices.Collect(maps.Keys(bad)))
	return fmt.Errorf("value %d of %q: %w", i, t.name, bad[i])
}

// declaredOnly is the message for a task that lacks the function it needs.
func (t *Task[A, R]) declaredOnly(what string) string {
	return fmt.Sprintf("task %q cannot be %s here: it is only declared, without a function; "+
		"make it with tasks.Define in a program that runs it", t.name, what)
}

// argError gives err, which kept argument i from being encoded or decoded, the
// name of the task. The tuple types report which of their arguments is to blame;
// that is the user's "arg 2" only if the whole argument is the tuple.
func (t *Task[A, R]) argError(i int, err error) *ArgError {
	if t.tuple {
		var inner *ArgError
		if theirs, ok := err.(*foreignError); ok {
			inner = theirs.arg
		} else {
			inner, _ = failure.Find[*ArgError](err)
		}
		if inner != nil {
			return &ArgError{Task: t.name, Call: i, Arg: inner.Arg, Err: inner.Err}
		}
	}
	return &ArgError{Task: t.name, Call: i, Err: err}
}

// valueError gives err, which kept a value from being encoded, the name of the
// task. Its call is known to the receiver.
func (t *Task[A, R]) valueError(err error) error {
	return guard.About(fmt.Sprintf("result of %q: ", t.name), err)
}

// Runner is a task without its types, as worker.Run takes it. Every *Task is a
// Runner and nothing else can be one.
type Runner interface {
	// Name is the name under which the task is submitted.
	Name() string
	// Codec is the codec in which arguments and values travel.
	Codec() Codec
	// Defined reports whether the task has a function to run.
	Defined() bool

	erase() call.Task
}

// Erase gives a worker the bytes-only view of a task. It panics on a task that
// is only declared, since there is nothing to run, and on a nil Runner.
//
// It exists for package worker; its result type is internal to distpool.
func Erase(r Runner) call.Task {
	if r == nil {
		panic("tasks.Erase: task is nil; pass a task made by tasks.Define")
	}
	return r.erase()
}

// EncodeFor is Task.EncodeArgs for workers, which read large byte strings as they are, too. An encoding method that has not returned when ctx ends is
// left behind, and the error is that of ctx.
//
// It exists for package producer.
func EncodeFor[A, R any](ctx context.Context, t *Task[A, R], args []A) ([]byte, error) {
	return t.encodeFor(ctx, args, true)
}

// DecodeEach is Task.DecodeValues for callers that know which calls failed. A value that cannot be decoded spoils only its own place in dst, which
// is zero then; bad says why, by index. An error is about the array as a whole.
//
// It exists for packages producer and results.
func DecodeEach[A, R any](t *Task[A, R], data []byte, dst []R) (bad map[int]error, err error) {
	bad, err = t.values.decodeEach(context.Background(), data, dst)
	if err == nil && len(bad) == 0 {
		return nil, nil
	}
	return t.explain(bad, err, dst)
}

// explain says more of what decodeEach has returned.
func (t *Task[A, R]) explain(bad map[int]error, err error, dst []R) (map[int]error, error) {
	switch {
	case err == nil:
	case t.values.array == nil: // which of them it is cannot be told
		clear(dst)
		bad = make(map[int]error, len(dst))
		for i := range dst {
			bad[i] = err
		}
	default:
		return nil, fmt.Errorf("values of %q: %w", t.name, err)
	}
	for i, err := range bad {
		bad[i] = fmt.Errorf("%w; the worker's result type must be compatible with %v", err, reflect.TypeFor[R]())
	}
	return bad, nil
}
