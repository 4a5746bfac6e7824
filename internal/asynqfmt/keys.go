package asynqfmt

import "time"

// Keys that belong to no queue.
const (
	QueuesKey     = "asynq:queues"  // set: the names of all queues
	serversKey    = "asynq:servers" // sorted set: keys of servers, by the time at which they expire
	workersKey    = "asynq:workers" // sorted set: keys of what servers run, likewise
	CancelChannel = "asynq:cancel"  // channel: IDs of active tasks that an operator cancels
)

// LeaseDuration is how long asynq leaves an active task to its worker without a renewal.
const LeaseDuration = 30 * time.Second

// Prefix is the prefix of every key of a queue. The name of the queue is the hash tag,
// so all of them share a slot of a Cluster.
func Prefix(queue string) string { return "asynq:{" + queue + "}:" }

// PendingKey is the list of the tasks that wait for a worker.
func PendingKey(queue string) string { return Prefix(queue) + "pending" }

// ActiveKey is the list of the tasks that workers run.
func ActiveKey(queue string) string { return Prefix(queue) + "active" }

// LeaseKey is the sorted set of the leases of active tasks (Unix, s).
func LeaseKey(queue string) string { return Prefix(queue) + "lease" }

// ScheduledKey is the sorted set of the tasks that are not due yet.
func ScheduledKey(queue string) string { return Prefix(queue) + "scheduled" }

// RetryKey is the sorted set of the tasks that failed and will run again.
func RetryKey(queue string) string { return Prefix(queue) + "retry" }

// ArchivedKey is the sorted set of the tasks that failed for good.
func ArchivedKey(queue string) string { return Prefix(queue) + "archived" }

// PausedKey exists while the queue is paused.
func PausedKey(queue string) string { return Prefix(queue) + "paused" }

// TaskKey is the hash of one task.
func TaskKey(queue, id string) string { return Prefix(queue) + "t:" + id }

// CountersLast is how long asynq keeps the counters of a day.
const CountersLast = 90 * 24 * time.Hour
