package tasks

import (
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/call"
)

// CallTimeout ends the context of a call that runs longer than d. A call that
// returns an error after that fails as timed out (results.ErrCallTimeout at the
// producer); one that returns a value all the same has succeeded. It panics if d
// is not positive; Define does if d is longer than the HardTimeout. A job may override it: see producer.CallTimeout.
func CallTimeout(d time.Duration) Option {
	mustLimit("tasks.CallTimeout", d)
	return func(o *options) { o.policy.CallTimeout = &d }
}

// HardTimeout gives up a call that still runs after d, whatever its context
// says: it fails as timed out. A goroutine cannot be stopped from outside, so its
// slot is lost; the worker lets its other calls finish, gives back what waits,
// and worker.Run returns worker.ErrRecycle, so that the process can be started
// afresh. d may not be shorter than the CallTimeout, and should be longer. The time of a
// call is also that of what runs for it: decoding its argument, the methods of its
// error, observers. Decoding all arguments of a chunk, and encoding its values, gets d
// once more each. It panics if d is not positive. A job may override it: see producer.HardTimeout.
func HardTimeout(d time.Duration) Option {
	mustLimit("tasks.HardTimeout", d)
	return func(o *options) { o.policy.HardTimeout = &d }
}

func mustLimit(where string, d time.Duration) {
	if d <= 0 {
		panic(fmt.Sprintf("%s: d is %v; use a positive duration, or leave the option out for no limit", where, d))
	}
}

// Policy is what the task was defined with about retries and limits, for
// packages producer and worker.
func (t *Task[A, R]) Policy() call.Policy { return t.opts.policy }
