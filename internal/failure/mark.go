package failure

import "time"

// Permanent marks an error that another attempt does not cure.
type Permanent struct{ Err error }

// Error is the message of the marked error.
func (e *Permanent) Error() string { return e.Err.Error() }

// Unwrap returns the marked error.
func (e *Permanent) Unwrap() error { return e.Err }

// RetryAfter marks an error after which the next attempt waits for Delay.
type RetryAfter struct {
	Err   error
	Delay time.Duration
}

// Error is the message of the marked error.
func (e *RetryAfter) Error() string { return e.Err.Error() }

// Unwrap returns the marked error.
func (e *RetryAfter) Unwrap() error { return e.Err }
