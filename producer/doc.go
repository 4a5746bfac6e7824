// Package producer submits calls and gets their values. A producer opens a
// [Pool], the handle on all workers that serve the same Redis, and submits by a
// task (see package tasks):
//
//	pool, err := producer.Open(ctx, producer.Config{})
//	n, err := producer.Apply(ctx, pool, CountWords, "to be or not to be")
//	counts, err := producer.Map(ctx, pool, CountWords, texts)
//
// The verbs are functions, not methods of Pool: they have type parameters, which
// the compiler finds from the task.
//
// # The verbs
//
//   - [Apply] is one call, [Map] one call for each argument;
//   - [Starmap] is Map for a task of several arguments, whose calls are tuples;
//   - [ApplyAsync], [MapAsync] and [StarmapAsync] return at once, with a handle of
//     package results, on which the value is got later, or by a callback;
//   - [IMap] and [IMapUnordered] are streams: they read arguments from an iterator of
//     any length and yield values while they read, within a [Window];
//   - [RetryFailed] is a new job of the calls that failed in one that is over.
//
// When an Async form returns without an error, the job is in Redis and runs,
// whatever becomes of this process. Another one gets its values with [Attach]
// or [AttachMap], by the job's ID. The context of an Async form bounds the
// submission only; that of the others bounds the wait too, and when it ends they
// cancel the job, since nobody else could take its value.
//
// # Chunks
//
// The calls of a map travel in chunks; a chunk is what one worker takes at a
// time, and runs one call after the other. [ChunkSize] sets how many calls that
// are. Large chunks cost fewer round trips, small ones spread better; the
// automatic size aims at four chunks for each slot of the live workers. A stream,
// whose length nobody knows, aims at a tenth of a second of work for each chunk.
//
// # Nested jobs
//
// A task may submit jobs and wait for them, on a pool that worker.Config.Init has
// put into the context, or on one of its own. The call holds its slot meanwhile,
// so the nested job needs another one. When every slot that could run it is held
// by a call that waits for a nested job itself, none of them could go on: one of the
// waits fails with results.ErrNoSlot within about 10 seconds, and the worker logs a
// warning. The slot that its call frees lets the others go on; where it does not, the
// next wait fails.
// Slots that are just busy are waited for. The remedies are more slots, a [Queue]
// of other workers for the nested jobs, or fewer levels.
//
// For that the wait must know its call: give Apply, Map, the streams, and Get,
// Wait, All and AsCompleted of a handle the call's own context, or one made from
// it. GetTimeout, Done and Pool.Join are not seen, and neither is a wait
// for a job that is in another Redis than the worker's.
//
// # Errors
//
// An error of a submission means that nothing was accepted. An argument that
// cannot be encoded is a *tasks.ArgError, a pool that was closed is
// [ErrClosed]. What can go wrong afterwards is told by the handle: see package
// results.
//
// # The end of a pool
//
// [Pool.Close] refuses further submissions, [Pool.Join] then waits for those that
// were accepted, and for callbacks. [Pool.Terminate] cancels instead of waiting.
// Either releases what the pool holds; a program that simply exits loses no job
// by it.
package producer
