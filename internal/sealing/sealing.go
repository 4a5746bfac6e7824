// Package sealing encrypts the frames of package wire: what is in them of
// arguments, values and the texts of errors, but not their headers.
package sealing

import (
	"encoding/json"
	"fmt"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
)

// hidden is what people see of a text that is encrypted.
const hidden = "(encrypted)"

// Frames seals and opens the frames of one chunk.
type Frames struct {
	Sealer call.Sealer
	Job    signing.Ref
	Task   string
	Chunk  int
}

// place binds data to what it is, and to the header of its frame.
func (f Frames) place(what string, first, calls int, more ...any) []byte {
	p := signing.Place{What: fmt.Sprintln(append([]any{what, first, calls}, more...)...), Job: f.Job, Task: f.Task, Chunk: f.Chunk}
	return p.Bytes()
}

// Args seals the arguments of a frame.
func (f Frames) Args(frame []byte) ([]byte, error) {
	first, n, data, err := wire.ParseArgs(frame)
	if err != nil {
		return nil, err
	}
	if data, err = f.Sealer.Seal(data, f.place("arguments", first, n)); err != nil {
		return nil, err
	}
	return wire.EncodeArgs(first, n, data), nil
}

// OpenArgs opens arguments whose frame has been parsed.
func (f Frames) OpenArgs(first, n int, data []byte) ([]byte, error) {
	return f.Sealer.Open(data, f.place("arguments", first, n))
}

// What the outcomes of a chunk are.
const (
	Outcomes   = "outcomes"
	Checkpoint = "checkpoint" // some calls have none yet
)

// failed lists the calls that have no value: a program that cannot open the values must
// not be able to make them look as if they had one.
func failed(o wire.Outcome) []int {
	calls := make([]int, len(o.Errors))
	for i, e := range o.Errors {
		calls[i] = e.Call
	}
	return calls
}

// Outcome seals values and the texts of errors.
func (f Frames) Outcome(what string, o wire.Outcome) (wire.Outcome, error) {
	var err error
	if len(o.Values) > 0 {
		if o.Values, err = f.Sealer.Seal(o.Values, f.place(what, o.First, o.Calls, failed(o))); err != nil {
			return wire.Outcome{}, err
		}
	}
	errs := make([]wire.CallError, len(o.Errors))
	for i, e := range o.Errors {
		data, err := json.Marshal(wire.CallError{Message: e.Message, Type: e.Type, Codes: e.Codes, Stack: e.Stack})
		if err != nil {
			return wire.Outcome{}, err
		}
		if e.Sealed, err = f.Sealer.Seal(data, f.place("error", o.First, o.Calls, e.Call, e.Kind)); err != nil {
			return wire.Outcome{}, err
		}
		e.Message, e.Type, e.Codes, e.Stack = hidden, "", nil, ""
		errs[i] = e
	}
	o.Errors = errs
	return o, nil
}

// OpenOutcome undoes Outcome. An error that is not sealed stays as it is: a worker
// that has not the key cannot say so otherwise.
func (f Frames) OpenOutcome(what string, o wire.Outcome) (wire.Outcome, error) {
	var err error
	if len(o.Values) > 0 {
		if o.Values, err = f.Sealer.Open(o.Values, f.place(what, o.First, o.Calls, failed(o))); err != nil {
			return wire.Outcome{}, fmt.Errorf("values of calls %d to %d: %w", o.First, o.First+o.Calls-1, err)
		}
	}
	for i, e := range o.Errors {
		if len(e.Sealed) == 0 {
			continue
		}
		data, err := f.Sealer.Open(e.Sealed, f.place("error", o.First, o.Calls, e.Call, e.Kind))
		if err != nil {
			return wire.Outcome{}, fmt.Errorf("error of call %d: %w", o.First+e.Call, err)
		}
		var t wire.CallError
		if err := json.Unmarshal(data, &t); err != nil {
			return wire.Outcome{}, fmt.Errorf("error of call %d: %w", o.First+e.Call, err)
		}
		e.Message, e.Type, e.Codes, e.Stack, e.Sealed = t.Message, t.Type, t.Codes, t.Stack, nil
		o.Errors[i] = e
	}
	return o, nil
}
