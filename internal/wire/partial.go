package wire

import (
	"encoding/json"
	"fmt"
)

// Partial is what an unfinished chunk has so far, for the worker that goes on with it.
// It travels as "<length>\n" + its own fields (JSON, so many bytes) + an outcome frame, in
// which the calls that have no outcome yet hold fillers.
type Partial struct {
	Next    int        `json:"next"`            // index in the chunk: calls from here on were not begun
	Due     int64      `json:"due,omitempty"`   // Unix time in ms before which the pending calls are not to run; 0: now
	Waits   int        `json:"waits,omitempty"` // number of the delivery that waits until then: when it comes it is time; 0: none waits
	Pending []Pending  `json:"calls,omitempty"` // calls below Next that ran, failed, and are to run again; ascending by Call
	Outcome `json:"-"` // of all other calls below Next
}

// Pending is a call that is to run again.
type Pending struct {
	Call     int `json:"i"` // index within the chunk
	Attempts int `json:"a"` // how often it ran
}

// Finished is the number of calls that have their outcome.
func (p Partial) Finished() int { return p.Next - len(p.Pending) }

// Encode frames the partial.
func (p Partial) Encode() []byte {
	own, err := json.Marshal(p)
	if err != nil {
		panic("distpool: encoding pending calls: " + err.Error()) // ints always encode
	}
	b := append(appendHeader(nil, len(own)), own...)
	return append(b, p.Outcome.Encode()...)
}

// ParsePartial undoes Encode and checks that the frame is consistent. It aliases
// b.
func ParsePartial(b []byte) (p Partial, err error) {
	nums, rest, err := header(b, 1)
	if err == nil && nums[0] > len(rest) {
		err = fmt.Errorf("%d bytes of pending calls claimed, %d left", nums[0], len(rest))
	}
	if err == nil {
		err = json.Unmarshal(rest[:nums[0]], &p)
	}
	if err == nil {
		p.Outcome, err = parseOutcome(rest[nums[0]:])
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return Partial{}, fmt.Errorf("partial outcomes of a chunk: %w", err)
	}
	return p, nil
}

func (p Partial) check() error {
	if p.Next < 0 || p.Next > p.Calls {
		return fmt.Errorf("next is call %d of %d", p.Next, p.Calls)
	}
	failed := make(map[int]bool, len(p.Errors))
	for _, e := range p.Errors {
		if e.Call >= p.Next {
			return fmt.Errorf("an error of call %d, but next is %d", e.Call, p.Next)
		}
		failed[e.Call] = true
	}
	last := -1
	for _, c := range p.Pending {
		if c.Call <= last || c.Call >= p.Next || failed[c.Call] || c.Attempts < 1 || c.Attempts > maxNumber {
			return fmt.Errorf("call %d cannot be pending", c.Call)
		}
		last = c.Call
	}
	if len(p.Values) == 0 && p.Finished() > len(p.Errors) {
		return fmt.Errorf("no values of %d calls", p.Finished()-len(p.Errors))
	}
	return nil
}

// maxNumber bounds the attempts of a call, so that the next one is a number, too.
const maxNumber = 1 << 40
