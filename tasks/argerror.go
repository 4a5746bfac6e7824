package tasks

import (
	"fmt"
	"strings"
)

// ArgError says which argument could not be encoded or decoded, and why.
//
//	call 17: arg 2 of "scale": cannot use JSON string as int
type ArgError struct {
	// Task is the name of the task.
	Task string
	// Call is the index of the call. From EncodeArgs it counts from the first
	// argument of that slice. It is -1 where it says nothing, in a job of one
	// call, and where only the receiver of the error knows it: in a worker,
	// which decodes a chunk of a larger job.
	Call int
	// Arg is the number of the argument in a tuple, counted from 1. It is 0
	// when the whole argument is meant.
	Arg int
	// Err is the reason.
	Err error
}

// Error names the call if it is known, the argument, the task and the reason.
func (e *ArgError) Error() string {
	var b strings.Builder
	if e.Call >= 0 {
		fmt.Fprintf(&b, "call %d: ", e.Call)
	}
	if e.Arg > 0 {
		fmt.Fprintf(&b, "arg %d", e.Arg)
	} else {
		b.WriteString("argument")
	}
	if e.Task != "" {
		fmt.Fprintf(&b, " of %q", e.Task)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the reason.
func (e *ArgError) Unwrap() error { return e.Err }
