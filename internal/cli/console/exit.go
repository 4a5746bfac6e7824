package console

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/distpool/distpool/internal/redisconn"
)

// The exit codes. They are part of the program's contract: see the help text.
const (
	ExitOK         = 0 // every call returned a value
	ExitCallFailed = 1 // some call failed, or the demo's check did
	ExitUsage      = 2 // the command line or the input is wrong
	ExitNoResult   = 3 // the outcomes are not known: no Redis, timeout, canceled
)

// exitError is an error that has an exit code.
type exitError struct {
	code int
	err  error // nil: everything has been said
}

// Error is the message of the error inside.
func (e *exitError) Error() string { return fmt.Sprint(e.err) }

// Unwrap returns the error inside.
func (e *exitError) Unwrap() error { return e.err }

// withCode gives an error an exit code, unless it has one.
func withCode(code int, err error) error {
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	return &exitError{code, err}
}

// Usage is for a wrong command line or input. An error that has an exit code keeps it.
func Usage(err error) error { return withCode(ExitUsage, err) }

// Usagef is Usage of a new error.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// NoResult is for errors about Redis, or about waiting. An error that has an exit
// code keeps it.
func NoResult(err error) error {
	if errors.Is(err, redisconn.ErrBadURL) {
		return Usage(err)
	}
	return withCode(ExitNoResult, err)
}

// CallFailed is for failed calls. A nil error says that all has been printed.
func CallFailed(err error) error { return withCode(ExitCallFailed, err) }

// Printed is the error of printing. One whose reader has gone, as head does when it
// has enough, is nothing to tell of.
func Printed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE):
		return &exitError{ExitNoResult, nil}
	}
	return NoResult(fmt.Errorf("printing: %w", err))
}

// Stopped is the error of a command whose context has ended.
func Stopped(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("the time of --timeout is over")
	}
	return errors.New("interrupted")
}

// End prints what ended the program, and returns its exit code. Errors without one
// are cobra's, about the command line.
func (a *App) End(err error) int {
	e, ok := errors.AsType[*exitError](err)
	if lost := a.out.failed(); lost != nil && !ok {
		// Not every print is checked where it is made, nor are the prints of cobra.
		e, ok = errors.AsType[*exitError](Printed(lost))
	}
	switch {
	case ok:
	case err == nil:
		return ExitOK
	default:
		e = &exitError{ExitUsage, err}
	}
	if e.err != nil {
		fmt.Fprintf(a.Err, "distpool: %v\n", e.err)
	}
	return e.code
}
