package wire

import (
	"encoding/json"
	"fmt"
)

// Partial is what an unfinished chunk has so far, for whoever goes on with it.
// It travels as "<next> <length of pending>\n" + pending (JSON) + an outcome
// frame, in which the calls that have no outcome yet hold fillers.
type Partial struct {
	Next    int       // index in the chunk: calls from here on were not begun
	Due     int64     // Unix time in ms before which the pending calls are not to run; 0: now
	Waits   int       // number of the delivery that waits until then: when it comes it is time; 0: none waits
	Pending []Pending // calls below Next that ran, failed, and are to run again; ascending by Call
	Outcome           // of all other calls below Next
}

// Pending is a call that is to run again.
type Pending struct {
	Call     int `json:"i"` // index within the chunk
	Attempts int `json:"a"` // how often it ran
}

// pendingPart is the JSON of a partial's pending calls.
type pendingPart struct {
	Due   int64     `json:"due,omitempty"`
	Waits int       `json:"waits,omitempty"`
	Calls []Pending `json:"calls,omitempty"`
}

// Finished is the number of calls that have their outcome.
func (p Partial) Finished() int { return p.Next - len(p.Pending) }

// Encode frames the partial.
func (p Partial) Encode() []byte {
	var pending []byte
	if p.Due != 0 || len(p.Pending) > 0 {
		var err error
		if pending, err = json.Marshal(pendingPart{p.Due, p.Waits, p.Pending}); err != nil {
			panic("distpool: encoding pending calls: " + err.Error()) // ints always encode
		}
	}
	b := append(appendHeader(nil, p.Next, len(pending)), pending...)
	return append(b, p.Outcome.Encode()...)
}

// ParsePartial undoes Encode and checks that the frame is consistent. It aliases
// b.
func ParsePartial(b []byte) (Partial, error) {
	nums, rest, err := header(b, 2)
	if err != nil {
		return Partial{}, fmt.Errorf("partial outcomes of a chunk: %w", err)
	}
	if nums[1] > len(rest) {
		return Partial{}, fmt.Errorf("partial outcomes of a chunk: %d bytes of pending calls claimed, %d left", nums[1], len(rest))
	}
	p := Partial{Next: nums[0]}
	if nums[1] > 0 {
		var part pendingPart
		if err := json.Unmarshal(rest[:nums[1]], &part); err != nil {
			return Partial{}, fmt.Errorf("partial outcomes of a chunk: pending calls: %w", err)
		}
		p.Due, p.Waits, p.Pending = part.Due, part.Waits, part.Calls
	}
	if p.Outcome, err = parseOutcome(rest[nums[1]:]); err != nil {
		return Partial{}, err
	}
	if p.Next > p.Calls {
		return Partial{}, fmt.Errorf("partial outcomes of a chunk: next is call %d of %d", p.Next, p.Calls)
	}
	failed := make(map[int]bool, len(p.Errors))
	for _, e := range p.Errors {
		if e.Call >= p.Next {
			return Partial{}, fmt.Errorf("partial outcomes of a chunk: an error of call %d, but next is %d", e.Call, p.Next)
		}
		failed[e.Call] = true
	}
	last := -1
	for _, c := range p.Pending {
		if c.Call <= last || c.Call >= p.Next || failed[c.Call] || c.Attempts < 1 || c.Attempts > maxNumber {
			return Partial{}, fmt.Errorf("partial outcomes of a chunk: call %d cannot be pending", c.Call)
		}
		last = c.Call
	}
	if len(p.Values) == 0 && p.Finished() > len(p.Errors) {
		return Partial{}, fmt.Errorf("partial outcomes of a chunk: no values of %d calls", p.Finished()-len(p.Errors))
	}
	return p, nil
}

// maxNumber bounds the attempts of a call, so that the next one is a number, too.
const maxNumber = 1 << 40
