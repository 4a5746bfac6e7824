package execute

import (
	"slices"
	"strings"

	"github.com/distpool/distpool/internal/wire"
)

// The texts of a failure are bounded, so that a task cannot fill the store with its errors:
// each by itself, and all of a chunk together.
const (
	// MaxMessage is the longest message of a failure, in bytes.
	MaxMessage = 16 << 10

	maxStack = 32 << 10
	maxType  = 256
	maxCodes = 64
	// maxFailures is about the size of a chunk's failures together, in bytes. One takes a
	// 64th of what is left at the most, but each may have leastText.
	maxFailures = 32 << 20
	leastText   = 128
)

// failures are the calls of a chunk that failed for good.
type failures struct {
	errors []wire.CallError // ascending by Call
	size   int              // about, in bytes
}

// fail adds a failure of a call that runs no more.
func (r *Run) fail(e wire.CallError) {
	r.on.CountFailure()
	e.Worker = r.on.Worker
	r.bound(&e)
	at, _ := slices.BinarySearchFunc(r.errors, e.Call, byCall)
	r.errors = slices.Insert(r.errors, at, e)
}

// failRest fails all calls that have no outcome.
func (r *Run) failRest(kind wire.Kind, msg string) {
	for {
		i, _, ok := r.upcoming()
		if !ok {
			return
		}
		r.advance()
		r.fail(wire.CallError{Call: i, Kind: kind, Message: msg})
	}
}

// bound shortens a failure to the sizes that may travel.
func (f *failures) bound(e *wire.CallError) {
	most := max(leastText, (maxFailures-f.size)/64)
	e.Message = Truncate(e.Message, min(MaxMessage, most))
	e.Type = Truncate(e.Type, min(maxType, most))
	e.Codes = e.Codes[:min(len(e.Codes), maxCodes)]
	if most < 8*leastText {
		e.Stack = "" // a few lines of it say nothing
	}
	e.Stack = Truncate(e.Stack, min(maxStack, most))
	f.size += e.Size()
}

func (f *failures) hasFailed(i int) bool {
	if len(f.errors) == 0 {
		return false
	}
	_, ok := slices.BinarySearchFunc(f.errors, i, byCall)
	return ok
}

// shorten cuts all failures to their least texts; false if they have no more already.
func (f *failures) shorten() bool {
	cut := false
	for i, e := range f.errors {
		short := wire.CallError{Call: e.Call, Kind: e.Kind, Message: Truncate(e.Message, leastText), Attempts: e.Attempts, Worker: e.Worker}
		cut = cut || short.Size() < e.Size()
		f.errors[i] = short
	}
	return cut
}

func byCall(e wire.CallError, i int) int { return e.Call - i }

// Truncate returns the first n bytes of a text, and says so where that is not all of it.
func Truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "... (truncated)"
}
