// Package pooltest is a test kit for programs that use distpool: a pool with
// workers in the test's own process, on an embedded Redis.
//
//	func TestReport(t *testing.T) {
//		pool := pooltest.New(t, Square, Half)
//		got, err := producer.Map(t.Context(), pool, Square, []int{1, 2, 3})
//		...
//	}
//
// Nothing in it is an imitation: arguments are encoded, asynq delivers, a worker
// runs the calls, outcomes are recorded and decoded. A test that passes here has
// passed on the real path, with two differences: the Redis is miniredis, which
// speaks Redis's protocol in Go, and workers share the test's process.
//
// [Start] takes options: [Workers] and [Concurrency] for a larger fleet, [Inline]
// for calls that have run when their submission returns, [Redis] for a real
// Redis, [Queues] for tests of named queues, [Init] for what calls share. [Open] is Start for an Example or
// a program, which have no testing.TB.
//
// # What to expect of Inline
//
// Celery's task_always_eager calls the function instead of sending it, and by
// that skips what tests should find: a value that does not encode, a task that
// no worker knows. Inline keeps the real path. It runs one worker with one slot,
// and a submission waits for the end of its job before it returns. So calls run
// one after the other, in the order of their arguments, and nothing runs between
// two submissions; a breakpoint in a task stops while the test stands in its
// submission. The task's goroutine is the worker's, not the test's: t.FailNow
// does not belong into it.
//
// # What to expect of time
//
// Keys of the embedded Redis do not age by themselves. [Kit.Advance] ages them:
// results and jobs expire as if that time had passed. It moves nothing else.
// Timers of workers and pools (heartbeats, polls, asynq's delays, sleeps and
// timeouts in tasks, timeouts of Get) run on the real clock.
package pooltest
