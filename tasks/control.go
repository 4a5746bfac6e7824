package tasks

import (
	"time"

	"github.com/distpool/distpool/internal/bounds"
)

// Permanent marks err as one that another attempt will not cure, so that the
// call is not retried, however many retries it has left. It returns nil if err
// is nil. The message stays that of err, and errors.Is and errors.As see it.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err was marked by [Permanent], itself or anything
// that it wraps.
func IsPermanent(err error) bool {
	_, ok := inTree[*permanentError](err)
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
	return &retryAfterError{err, min(max(d, 0), bounds.Longest)}
}

// RetryDelay returns the wait that [RetryAfter] asked for, the outermost one if
// there are several. It is false if err was not marked so, or is permanent.
func RetryDelay(err error) (time.Duration, bool) {
	e, ok := inTree[*retryAfterError](err)
	if !ok || IsPermanent(err) {
		return 0, false
	}
	return e.delay, true
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

type retryAfterError struct {
	err   error
	delay time.Duration
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }
