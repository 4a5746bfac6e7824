// Package results is what a producer gets back: the handles on jobs that run
// elsewhere, and the errors that they end with.
//
// # Handles
//
// [AsyncResult] is the handle on one call, [MapResult] the handle on a job of
// many. Package producer makes them. They know Python's questions:
//
//	result, err := producer.ApplyAsync(ctx, pool, Square, 7)
//
//	result.Ready()                           // is it over?
//	v, err := result.GetTimeout(time.Second) // ErrTimeout: the call goes on
//	v, err = result.Get(ctx)                 // the value, or the call's error
//	ok, err := result.Successful()           // ErrNotReady before it is over
//
// and Go's: Done returns a channel for select, Wait takes a context, Watch
// iterates over the progress. All and AsCompleted of a MapResult iterate over its
// outcomes while the job runs. OnSuccess and OnError register callbacks; exactly
// one of the two kinds runs, before Done closes.
//
// A handle holds what it has heard, so asking it costs no round trip. Every Get
// returns the same answer. Dropping a handle does not stop its job: Cancel does,
// and Forget removes the job from Redis before its time to live is over.
//
// # Errors
//
// "The call failed" and "I stopped waiting" are different errors:
//
//   - a [*TaskError] is the failure of one call: the task's error, a panic with the
//     worker's stack, an argument or a value that does not travel. Its Kind says
//     which. errors.Is finds in it the errors that both sides registered with
//     tasks.RegisterError, and [ErrWorkerLost] and [ErrUnknownTask].
//   - a [*MapError] lists the failed calls of a map. The values of the others are
//     returned beside it.
//   - [ErrTimeout], or an error that wraps the cause of a canceled context, ends the
//     wait and nothing else: get the result again.
//   - [ErrCanceled], [ErrExpired], [ErrCorrupt] and [ErrClosed] say that this handle
//     will have no outcome. After ErrExpired it is not known whether the calls ran;
//     after ErrClosed another pool can attach to the job.
//   - [ErrNoSlot] ends a wait inside a call for a nested job that has no slot to run
//     in; the job stays.
//   - [ErrUnknownJob] and [ErrTaskMismatch] come from attaching.
package results
