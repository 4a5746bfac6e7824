// Package asynqhandler lets stock asynq servers run distpool's tasks. It is for teams that have a
// fleet of them already; all others use package worker, which is faster and simpler to run.
//
//	handler, err := asynqhandler.New(ctx, asynqhandler.Config{
//		Worker: worker.Config{Concurrency: 10, Queues: map[string]int{"distpool": 1}},
//	}, square, wordCount)
//	server := asynq.NewServer(redis, asynq.Config{Concurrency: 10, Queues: handler.Queues()})
//	err = server.Start(handler)
//
// and at the end, in this order:
//
//	server.Stop()         // it takes no more deliveries
//	err = handler.Close() // running calls finish, chunks are given back
//	server.Shutdown()
//
// A [Handler] is a worker for which the asynq.Server takes the deliveries: it beats, supervises, and is among
// the workers that the command line and the monitor list. Workers and servers may share a queue. What
// package worker promises holds: an outcome is recorded once, and retries, checkpoints, time limits,
// cancellation, signatures and encryption work.
//
// # Where it differs from a worker
//
//   - A delivery waits until the server polls (asynq.Config.TaskCheckInterval, a second by default),
//     and costs two requests more. The server does not record in the background: its slot is taken
//     until the outcomes are in Redis.
//   - Slots, queues and weights are the server's. Config.Worker tells other processes of them,
//     and must have the same ones. StrictPriority has no effect.
//   - On a Cluster the server serves the lanes that there were when New returned: see Handler.Queues.
//     Lanes that are added later are served once the process has been started anew.
//   - A chunk that is given back, or waits for its next attempt, comes again as a new delivery, with the
//     next number. The old one ends, and asynq counts it as processed.
//   - Once asynq gives a delivery up, since its ShutdownTimeout is over or Redis has not taken its
//     heartbeat for 30 s, the contexts of its calls are canceled and the chunk is given back. A call
//     that ignores this goes on without a slot.
//   - A call that has passed its HardTimeout, or MaxCalls, closes Handler.Done. The program has to stop
//     the server then: until it does, the handler keeps each delivery for a second and gives it back.
//   - A chunk in which two workers have died runs beside no other chunk of the handler. Other
//     tasks of the server may run beside it.
//   - A slot that had a delivery of a task which only other workers know rests for some 25 ms. A
//     delivery of a chunk that another worker has keeps its slot for up to 20 s.
//   - While Redis does not answer, Close returns as worker.Run does. Shutdown of the server may not.
//   - Calls do not have the values of the server's contexts, such as asynq.GetTaskID. Config.Worker.Init
//     gives them values.
//   - asynq lists the server, and not the handler. Observers are not told how long deliveries waited.
//   - The server's ErrorHandler is told of each chunk with failed calls. Its RetryDelayFunc and IsFailure
//     have no say in retries of calls: those are the task's.
package asynqhandler
