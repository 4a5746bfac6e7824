package tasks

import (
	"context"
	"fmt"
	"reflect"
)

// Define makes a task of fn. It is meant for package-level variables that the
// producer and the worker both link:
//
//	var Square = tasks.Define("square", func(ctx context.Context, n int) (int, error) {
//		return n * n, nil
//	})
//
// The name travels, and the worker finds the function by it. A name has 1 to
// 200 ASCII letters, digits and . _ : / - and starts with a letter or a digit.
// Define panics on any other name, and if fn is nil: both are mistakes in the
// program, and show the first time that it starts. So is a type of argument or
// result of which the codec would lose something (see [TypeChecker]). Of [JSON] these
// are channels, functions and complex numbers, contexts, locks and what else has no
// exported field and no encoding methods (a producer.Pool, a handle, an os.File), and
// a struct that embeds a type with a MarshalJSON or MarshalText, such as time.Time,
// beside other fields: that method would stand for the whole struct. So are two fields
// with the same name in JSON, of which neither would travel, and a map of items (not
// pointers) whose MarshalJSON or MarshalText has a pointer receiver, such as big.Int: it
// would not be called. Define looks at exported fields and at items, too, but not at
// fields with the tag `json:"-"`. What is in an interface, or behind a pointer to a
// struct without exported fields, is looked at when it is encoded.
//
// fn may be called from several goroutines at once. Its context ends when the
// job is canceled, or when the worker shuts down and its grace is over. A call
// whose outcome was not recorded, because a worker died, is run again.
func Define[A, R any](name string, fn func(ctx context.Context, arg A) (R, error), opts ...Option) *Task[A, R] {
	mustName("tasks.Define", name)
	mustFunc("tasks.Define", name, fn == nil)
	return newTask(name, fn, opts)
}

// Define2 is [Define] for a function of two arguments. The task's argument is
// the tuple of both, which producer.Starmap spreads over the calls.
func Define2[A, B, R any](name string, fn func(ctx context.Context, a A, b B) (R, error), opts ...Option) *Task[Args2[A, B], R] {
	mustName("tasks.Define2", name)
	mustFunc("tasks.Define2", name, fn == nil)
	return newTask(name, func(ctx context.Context, t Args2[A, B]) (R, error) {
		return fn(ctx, t.A, t.B)
	}, opts)
}

// Define3 is [Define] for a function of three arguments.
func Define3[A, B, C, R any](name string, fn func(ctx context.Context, a A, b B, c C) (R, error), opts ...Option) *Task[Args3[A, B, C], R] {
	mustName("tasks.Define3", name)
	mustFunc("tasks.Define3", name, fn == nil)
	return newTask(name, func(ctx context.Context, t Args3[A, B, C]) (R, error) {
		return fn(ctx, t.A, t.B, t.C)
	}, opts)
}

// Declare makes a task without a function: a producer that does not link the
// function submits by it. Name, types and codec must match the task that the
// workers run. A task of two arguments is declared as Declare[Args2[A, B], R].
// Declare panics on a bad name, see [Define].
func Declare[A, R any](name string, opts ...Option) *Task[A, R] {
	mustName("tasks.Declare", name)
	return newTask[A, R](name, nil, opts)
}

func mustName(where, name string) {
	if err := checkName(name); err != nil {
		panic(where + ": name " + err.Error())
	}
}

func mustFunc(where, name string, missing bool) {
	if missing {
		panic(fmt.Sprintf("%s: function of task %q is nil; pass a function, or use tasks.Declare in a producer that has none", where, name))
	}
}

// mustTravel panics if the codec knows that it cannot carry a t, which is what ("the
// argument") of the task.
func mustTravel(task string, c Codec, what string, t reflect.Type) {
	checker, ok := c.(TypeChecker)
	if !ok {
		return
	}
	if err := checker.CheckType(t); err != nil {
		panic(fmt.Sprintf("tasks.Define: %s of task %q: %v", what, task, err))
	}
}
