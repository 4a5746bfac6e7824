package tasks

import (
	"time"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/failure"
)

// Permanent marks err as one that another attempt will not cure, so that the
// call is not retried, however many retries it has left. It returns nil if err
// is nil. The message stays that of err, and errors.Is and errors.As see it.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &failure.Permanent{Err: err}
}

// IsPermanent reports whether err was marked by [Permanent], itself or anything
// that it wraps.
func IsPermanent(err error) bool {
	_, ok := failure.Find[*failure.Permanent](err)
	return ok
}

// RetryAfter asks for the next attempt of the call to wait d, instead of the
// wait that its retry policy gives. It grants no retry: a call that has none
// left fails with err. It returns nil if err is nil; a negative d counts as 0, and
// one of more than 100 years as 100 years.
// The message stays that of err, and errors.Is and errors.As see it.
//
// Where an error is marked by Permanent as well, Permanent wins.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &failure.RetryAfter{Err: err, Delay: min(max(d, 0), bounds.Longest)}
}

// RetryDelay returns the wait that [RetryAfter] asked for, the outermost one if
// there are several. It is false if err was not marked so, or is permanent.
func RetryDelay(err error) (time.Duration, bool) {
	e, ok := failure.Find[*failure.RetryAfter](err)
	if !ok || IsPermanent(err) {
		return 0, false
	}
	return e.Delay, true
}

// Examine finds out what a worker tells of an error that a task returned, or panicked
// with. It calls methods of err and of the errors that it wraps, under guard: one that
// panics or calls runtime.Goexit is left out, and the message says so. After 10
// seconds it gives up on all of them. It does not call their As.
//
// It exists for package worker; its result type is internal to distpool.
func Examine(err error) call.Failure { return failure.Examine(err) }
