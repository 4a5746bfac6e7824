// Package worker runs tasks. A worker is a process with a fixed number of
// slots; [Run] is all of it:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := worker.Run(ctx, worker.Config{Concurrency: 10}, square, wordCount)
//
// # A delivery's way
//
// Package queue takes deliveries from Redis, as many as slots are free, and makes the worker the
// owner of their chunks in the same step. A chunk that has been run already, that runs elsewhere,
// or whose job is over does not come this far. [Run] has package execute run the calls one after
// the other, each guarded against panics and runtime.Goexit, and records their outcomes in the
// background while the slot runs the next chunk. With its heartbeats a worker tells the other
// processes that it is alive, and hears of canceled jobs. Package supervise, active in one worker of
// all, issues the chunks of dead workers again.
//
// # What is promised
//
// A call may run more than once, when a worker dies or is cut off: make tasks
// idempotent. Its outcome is recorded once. Slots are never exceeded. A worker
// that is told to stop gives back what it does not finish.
package worker
