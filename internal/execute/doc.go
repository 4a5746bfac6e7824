// Package execute runs one chunk of calls. It knows neither Redis nor asynq.
//
// An [Executor] holds what all chunks of a worker share. Its caller has a delivery and the
// chunk's arguments, makes a [Run] of them with [Executor.New], and calls [Run.Do]. That
// finds the task, decodes the arguments, goes on from a checkpoint, runs the calls one after
// the other with their attempts and time limits, and says in a [Result] how it ended:
// chunk.go reads in this order. The caller then stores [Run.Outcome], or gives the chunk
// back with [Run.Partial]. What a run needs meanwhile, such as saving a checkpoint, it asks
// its [Host] for.
//
// Tasks, codecs, errors and observers are foreign code. They may panic, call
// runtime.Goexit, or never return, and harm only their own call.
package execute
