// Package supervise finds chunks that no worker deals with any more, and issues them again.
//
// A chunk is lost to its workers when the worker that owns it is dead, when a delivery was
// moved to active and no worker has begun it, or when its delivery is in asynq's archive
// although it has no outcomes. asynq itself does something about the first only, one to two
// minutes later.
//
// Every worker has a Supervisor, and one of them leads. A chunk that is issued again without
// need does no harm: the record refuses the second delivery.
package supervise
