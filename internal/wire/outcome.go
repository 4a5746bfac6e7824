package wire

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Kind says what went wrong with a call. It is part of the wire format: values
// may be added, never renamed.
type Kind string

// The kinds of failure.
const (
	KindError       Kind = "error"        // the task returned an error
	KindPanic       Kind = "panic"        // the task panicked
	KindGoexit      Kind = "goexit"       // the task called runtime.Goexit
	KindBadArgument Kind = "bad_argument" // the argument could not be decoded
	KindBadResult   Kind = "bad_result"   // the value could not be encoded, or is too large
	KindUnknownTask Kind = "unknown_task" // no live worker of the queue knows the task
	KindTimeout     Kind = "timeout"      // the call ran longer than it may
	KindWorkerLost  Kind = "worker_lost"  // the workers that ran the call died
)

// CallError is the failure of one call as it travels.
type CallError struct {
	Call     int      `json:"i"`           // index within the chunk
	Kind     Kind     `json:"k"`           //
	Message  string   `json:"m"`           //
	Type     string   `json:"t,omitempty"` // Go type of the error, or of the panic's value
	Codes    []string `json:"c,omitempty"` // registered codes found in the error's tree
	Stack    string   `json:"s,omitempty"` // the worker's stack, for a panic or Goexit
	Attempts int      `json:"a,omitempty"` // how often the call ran
	Worker   string   `json:"w,omitempty"` // who ran it last
	Sealed   []byte   `json:"x,omitempty"` // message, type, codes and stack, encrypted; those fields tell nothing then
}

// Size is about how many bytes the failure takes in a frame.
func (e CallError) Size() int {
	b, err := json.Marshal(e)
	if err != nil {
		panic("distpool: encoding a call's error: " + err.Error()) // strings and ints always encode
	}
	return len(b) + 1
}

// Outcome is what became of the calls of one chunk.
type Outcome struct {
	First  int         // index in the job of the chunk's first call
	Calls  int         // number of calls
	Errors []CallError // the failed calls, ascending by Call
	Values []byte      // the codec's array of all values, zero where a call failed; empty when all failed
}

// Encode frames the outcome.
func (o Outcome) Encode() []byte {
	var errs []byte
	if len(o.Errors) > 0 {
		var err error
		if errs, err = json.Marshal(o.Errors); err != nil {
			// Strings, ints and a slice of strings always encode.
			panic("distpool: encoding call errors: " + err.Error())
		}
	}
	b := make([]byte, 0, len(errs)+len(o.Values)+36)
	b = append(appendHeader(b, o.First, o.Calls, len(errs)), errs...)
	return append(b, o.Values...)
}

// ParseOutcome undoes Encode and checks that the frame is consistent. Values
// aliases b.
func ParseOutcome(b []byte) (Outcome, error) {
	o, err := parseOutcome(b)
	if err == nil && len(o.Values) == 0 && len(o.Errors) < o.Calls {
		err = fmt.Errorf("no values, but only %d of %d calls failed", len(o.Errors), o.Calls)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("outcomes of a chunk: %w", err)
	}
	return o, nil
}

// parseOutcome is ParseOutcome for a chunk in which calls may have no outcome.
func parseOutcome(b []byte) (o Outcome, err error) {
	nums, rest, err := header(b, 3)
	switch {
	case err != nil:
		return o, err
	case nums[1] == 0:
		return o, errors.New("the header claims no calls")
	case nums[2] > len(rest):
		return o, fmt.Errorf("%d bytes of errors claimed, %d left", nums[2], len(rest))
	}
	o = Outcome{First: nums[0], Calls: nums[1], Values: rest[nums[2]:]}
	if nums[2] > 0 {
		if err := json.Unmarshal(rest[:nums[2]], &o.Errors); err != nil {
			return o, fmt.Errorf("errors: %w", err)
		}
	}
	if err := plausible(o.Calls, len(rest)); err != nil {
		return o, err
	}
	last := -1
	for _, e := range o.Errors {
		if e.Call <= last || e.Call >= o.Calls {
			return o, fmt.Errorf("error for call %d after call %d of %d", e.Call, last, o.Calls)
		}
		last = e.Call
	}
	return o, nil
}
