// Package deliver deals with the deliveries that a worker has taken.
//
// [Handler.Serve] reads as the life of a delivery: may it run here and now, is it known, is it
// trusted; then package execute runs its calls, and what comes of them is recorded in the
// background, or the chunk is given back, put off, or its job ended. [Handler.Refuse] is for
// deliveries that are not to be run.
package deliver
