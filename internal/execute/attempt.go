package execute

import (
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// attempt is one run of a call.
type attempt struct {
	call     int  // its index in the chunk
	tries    int  // how often it ran before
	running  bool // its outcome has not been noted
	measured bool // the stopwatch has counted it
	doing    atomic.Int32
	ending   *ending                     // how it ended, once observers are told
	telling  *watchedCall                // the call as observers are being told of it
	watched  atomic.Pointer[watchedCall] // the call as observers know it; the goroutine that tells its end takes it
	claim    *atomic.Bool                // set by what ends the call: its round, or its HardTimeout; nil without one
}

// The steps of an attempt.
const (
	inTask int32 = iota
	inArgument
	inBegin
	inError
	inEnd
)

// whatIsStuck names what did not return, other than the task.
var whatIsStuck = map[int32]string{
	inArgument: "decoding its argument", inBegin: "the BeginCall of an observer", inError: "a method of its error", inEnd: "the EndCall of an observer",
}

// ending is how a call ended.
type ending struct {
	result  observe.CallResult
	err     error          // as observers get it
	failed  bool           // with:
	fault   wire.CallError // as it travels
	failure call.Failure   // what it says about retries
}

// fine is how calls end that return a value. It is not changed.
var fine = &ending{result: observe.CallOK}

// begin makes the attempt that of call i.
func (a *attempt) begin(i, tries int) {
	a.call, a.tries, a.running, a.measured, a.claim = i, tries, true, false, nil
	a.do(inTask)
}

func (a *attempt) do(step int32) {
	if a.doing.Load() != step {
		a.doing.Store(step)
	}
}

// limit gives the attempt up after its HardTimeout, and then sends to stuck.
func (a *attempt) limit(t time.Duration, stuck chan<- struct{}) *time.Timer {
	claim := new(atomic.Bool)
	a.claim = claim
	return time.AfterFunc(t, func() {
		if !claim.Swap(true) {
			stuck <- struct{}{}
		}
	})
}

// givenUp reports whether the attempt passed its HardTimeout.
func (a *attempt) givenUp() bool { return a.claim != nil && a.claim.Load() }

// claimed reports whether the attempt is still its round's to end. It answers true once.
func (a *attempt) claimed() bool { return a.claim == nil || !a.claim.Swap(true) }

// over notes that the attempt has ended.
func (a *attempt) over() { a.running, a.claim = false, nil }
