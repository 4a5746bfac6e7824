package tasks

import (
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/call"
)

// Backoff is how long a failed call waits for its next attempt: Initial after the
// first failure, Factor times as long after each further one, up to Max, each
// wait spread at random by Jitter. The zero value waits about 0.5 s, 1 s, 2 s,
// and so on up to a minute.
type Backoff struct {
	Initial time.Duration // Defaults to 500 ms.
	Max     time.Duration // Defaults to 1 minute, or to Initial if that is longer.
	Factor  float64       // Defaults to 2; 1 makes all waits the same.
	Jitter  float64       // The fraction by which a wait may be shorter or longer, 0 to 1. Defaults to 0.2; less than 0 means none.
}

// Every is the Backoff of equal waits, with no jitter. d must be positive.
func Every(d time.Duration) Backoff { return Backoff{Initial: d, Max: d, Factor: 1, Jitter: -1} }

// Retry lets a failing call run again, up to n times, so n+1 times in all. Only
// failed calls run again, not the others of their chunk. Without this option a
// call runs once. A panic and a call that timed out count as failures; errors
// marked by [Permanent] are not retried, and [RetryAfter] sets the wait.
// Attempts are counted in the job record; a worker that dies in an attempt does
// not use one up. While a call waits its slot is free, unless the wait is 100 ms
// or less. It panics on a negative n and on a Backoff that makes no sense.
//
// A job may override it: see producer.Retry.
func Retry(n int, b Backoff) Option {
	p, err := RetryPolicy(n, b)
	if err != nil {
		panic("tasks.Retry: " + err.Error())
	}
	return func(o *options) { o.policy.Retries, o.policy.Backoff = p.Retries, p.Backoff }
}

// RetryPolicy is for package producer, whose option of the same kind returns an
// error instead of panicking.
func RetryPolicy(n int, b Backoff) (call.Policy, error) {
	if b.Initial == 0 {
		b.Initial = 500 * time.Millisecond
	}
	if b.Max == 0 {
		b.Max = max(time.Minute, b.Initial)
	}
	if b.Factor == 0 {
		b.Factor = 2
	}
	if b.Jitter == 0 {
		b.Jitter = 0.2
	}
	b.Jitter = max(b.Jitter, 0)
	switch {
	case n < 0:
		return call.Policy{}, fmt.Errorf("n is %d; use 0 for no retries, or a positive number", n)
	case b.Initial < 0:
		return call.Policy{}, fmt.Errorf("field Initial of the backoff is %v; use a positive duration, or 0 for 500ms", b.Initial)
	case b.Max < b.Initial:
		return call.Policy{}, fmt.Errorf("field Max of the backoff is %v, less than Initial (%v); use at least that, or 0 for 1m", b.Max, b.Initial)
	case b.Max > bounds.Longest:
		return call.Policy{}, fmt.Errorf("field Max of the backoff is %v; use up to 100 years, or 0 for 1m", b.Max)
	case !(b.Factor >= 1 && b.Factor <= 1000): // false for NaN too
		return call.Policy{}, fmt.Errorf("field Factor of the backoff is %v; use 1 to 1000, or 0 for 2", b.Factor)
	case !(b.Jitter <= 1):
		return call.Policy{}, fmt.Errorf("field Jitter of the backoff is %v; use up to 1, or less than 0 for none", b.Jitter)
	}
	return call.Policy{Retries: &n, Backoff: &call.Backoff{Initial: b.Initial, Max: b.Max, Factor: b.Factor, Jitter: b.Jitter}}, nil
}
