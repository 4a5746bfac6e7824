package execute

import (
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/wire"
)

// progress is how far a chunk is. Its calls run in this order: turn from at on, then next
// and up.
type progress struct {
	calls int            // of the chunk
	turn  []wire.Pending // calls that failed in an earlier round; sorted
	at    int            // turn before this has been run
	next  int            // calls from here on were not begun

	again []wire.Pending  // calls that failed in this round, and run again in the next one; sorted
	wait  time.Duration   // the longest wait that these ask for
	last  *wire.CallError // the last of their failures; nil: none

	failures // of calls that run no more
}

// upcoming is the call to run next, and how often it ran before.
func (p *progress) upcoming() (i, attempts int, ok bool) {
	if p.at < len(p.turn) {
		return p.turn[p.at].Call, p.turn[p.at].Attempts, true
	}
	return p.next, 0, p.next < p.calls
}

// advance notes that the upcoming call has run.
func (p *progress) advance() {
	if p.at < len(p.turn) {
		p.at++
	} else {
		p.next++
	}
}

// retry notes a failure of a call that is to run again after the wait.
func (p *progress) retry(e wire.CallError, wait time.Duration) {
	p.again = append(p.again, wire.Pending{Call: e.Call, Attempts: e.Attempts})
	p.wait, p.last = max(p.wait, wait), &e
}

// nextRound has the calls run again that failed in this round.
func (p *progress) nextRound() {
	p.turn, p.at, p.again, p.wait = p.again, 0, nil, 0
}

// lacks reports whether there is no value of call i: it failed, is to run again, or has not
// run.
func (p *progress) lacks(i int) bool {
	return i >= p.next || p.hasFailed(i) || among(p.again, i) || among(p.turn[p.at:], i)
}

// pending lists the calls below next that are to run, or run again. They are sorted: see among.
func (p *progress) pending() []wire.Pending {
	return slices.Concat(p.again, p.turn[p.at:])
}

// postponed is the end of a run whose failed calls wait for so long.
func (p *progress) postponed(wait time.Duration, due time.Time) Result {
	return Result{End: Postponed, Wait: wait, Due: due, Waiting: len(p.pending()), Last: p.last}
}

// among looks a call up in sorted ones. turn is sorted, and so is again: it is filled in the
// order of the run, and the calls of turn come before next.
func among(ps []wire.Pending, i int) bool {
	if len(ps) == 0 {
		return false
	}
	_, ok := slices.BinarySearchFunc(ps, i, func(p wire.Pending, i int) int { return p.Call - i })
	return ok
}

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
