// Package worker runs tasks. A worker is a process with a fixed number of
// slots; [Run] is all of it:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := worker.Run(ctx, worker.Config{Concurrency: 10}, square, wordCount)
//
// # A delivery's way
//
// asynq's server takes deliveries from Redis (doorbell.go makes it wait for them
// instead of polling). deliver.go asks the job record whether the chunk may run:
// it may have been run already, or be running elsewhere, or its job may be over.
// chunk.go has package execute run the calls one after the other, each guarded against
// panics and runtime.Goexit, and records their outcomes in one step. Package
// internal/fleet tells the other processes that this one is alive; presence.go hears of
// canceled jobs. supervise.go, active in one worker of all, issues the chunks of dead
// workers again.
//
// nested.go and package internal/nested find calls that wait for nested jobs which no
// slot is left to run.
//
// # What is promised
//
// A call may run more than once, when a worker dies or is cut off: make tasks
// idempotent. Its outcome is recorded once. Slots are never exceeded. A worker
// that is told to stop gives back what it does not finish.
package worker
