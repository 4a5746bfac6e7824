// Package guard runs code that is not distpool's: a task's, a codec's, the methods of
// a user's types, observers, log handlers. Such code may panic, call
// runtime.Goexit, or never return. A call under guard ends all the same, and says
// what happened.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// ErrGoexit says that the code called runtime.Goexit.
var ErrGoexit = errors.New("called runtime.Goexit")

// Left is the error of code that still runs although its time is over. It was left
// behind on its goroutine, and what it writes must not be looked at any more. Look for
// it by a type assertion: the errors of such code may have an Unwrap that does not
// return either.
type Left struct {
	about string
	Cause error // why its time is over
}

// Error says that the code did not return, and why that matters.
func (l *Left) Error() string { return fmt.Sprintf("%sdid not return: %v", l.about, l.Cause) }

// Unwrap returns the cause.
func (l *Left) Unwrap() error { return l.Cause }

// About puts the words before, such as "decoding the argument ", in front of an error
// of Apart. A *Left stays one.
func About(before string, err error) error {
	if l, ok := err.(*Left); ok {
		return &Left{before + l.about, l.Cause}
	}
	return fmt.Errorf("%s%w", before, err)
}

// Panic is the error of code that panicked.
type Panic struct {
	Value any
	Stack []byte
	text  string
}

// Error describes the value of the panic.
func (p *Panic) Error() string { return "panicked: " + p.text }

// Apart runs f on a goroutine of its own and returns its error: a *Panic if f
// panicked, ErrGoexit if it ended its goroutine. If ctx ends before f returns, Apart
// returns at once, with a *Left. It costs about a
// microsecond.
func Apart(ctx context.Context, f func() error) error {
	over := make(chan error, 1)
	go func() {
		err := ErrGoexit
		defer func() {
			if v := recover(); v != nil {
				err = &Panic{Value: v, Stack: debug.Stack(), text: Text(v)}
			}
			over <- err
		}()
		err = f()
	}()
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return &Left{Cause: context.Cause(ctx)}
	}
}

// Callback runs a callback of the user's, and waits for it. The log has it if it panics
// or ends its goroutine.
func Callback(log *slog.Logger, name string, f func()) {
	err := Apart(context.Background(), func() error {
		f()
		return nil
	})
	if err != nil {
		log.Error(name+" panicked or ended its goroutine", "error", err)
	}
}

// textTime is how long the methods of a value may take to describe it.
const textTime = time.Second

// Text describes a value as fmt.Sprint does, whatever its methods do. A description
// that takes longer than a second is left out.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "<nil>"
	}
	text := make(chan string, 1)
	go func() {
		defer close(text)
		defer func() { _ = recover() }()
		text <- fmt.Sprint(v) // runs methods of v
	}()
	timer := time.NewTimer(textTime)
	defer timer.Stop()
	select {
	case described, ok := <-text:
		if ok {
			return described
		}
	case <-timer.C:
	}
	return fmt.Sprintf("a value of type %T that cannot be described", v)
}
