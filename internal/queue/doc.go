// Package queue moves work between the lanes of queues and the programs that submit and
// run it.
//
// A Batch gathers what concurrent goroutines have for one lane, and sends it together: new
// jobs on the side of the producer, outcomes on the side of the worker. A Consumer is the
// side of the worker: it waits for deliveries, takes as many as slots are free, renews their
// leases while they run, and gives back what it cannot run.
//
// The package knows jobs and asynq's lists by way of the packages job and asynqfmt. What a
// chunk is, and how it is run, is the business of its users.
package queue
