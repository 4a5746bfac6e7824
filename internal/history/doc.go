// Package history is the memory of a run under faults, and its judge.
//
// Every process of the run appends what it did to a file of its own: producers
// what they submitted and got, workers what they ran, the driver which faults it
// injected. A line is one write(2) to a file that was opened for appending, so it
// survives the SIGKILL of its process. Afterwards [Load] reads all files, and
// [Check] proves the promises on them: every accepted call has one outcome, all
// handles agree on it, a run that happened computed it, and nothing starts to run
// that should not.
//
// Times are of the wall clock of one machine, on which all processes run.
package history
