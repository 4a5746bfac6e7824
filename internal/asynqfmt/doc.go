// Package asynqfmt is asynq's data format in Redis: its keys, its messages, its list
// of servers, and the moves of a task from one list to the next.
//
// It is the only package of distpool that knows this format. Any asynq tool can read
// what it writes: asynq's Inspector and asynqmon show every delivery with its type,
// payload, error and times, and every worker with its queues and what it runs.
//
// The format is that of one version of asynq (see Version). A test compares it with
// the version that go.mod requires, and the other tests hold the format through
// asynq's public Client, Inspector and Server.
//
// # Lists
//
// A task is a hash (TaskKey) and an entry in one list of its queue. The fields of the
// hash are msg (a Message), state (the name of the list) and pending_since.
//
//	pending     list; tasks are pushed at the left and taken at the right
//	active      list; each entry has a lease, an entry in the sorted set lease
//	scheduled   sorted set by the time at which the task becomes pending (Unix, s)
//	retry       the same, for a task that failed and will run again
//	archived    sorted set by the time at which the task was archived (Unix, s)
//
// The moves between these lists are functions of Lua, since they are always one half
// of a transition of a job: see Lua.
package asynqfmt

// Version is the version of asynq that has the format of this package.
const Version = "v0.26.0"
