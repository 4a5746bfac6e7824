package execute

import (
	"slices"
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
	p.turn, p.at, p.again, p.wait = sorted(p.again), 0, nil, 0
}

// lacks reports whether there is no value of call i: it failed, is to run again, or has not
// run.
func (p *progress) lacks(i int) bool {
	return i >= p.next || p.hasFailed(i) || among(p.again, i) || among(p.turn[p.at:], i)
}

// pending lists the calls below next that are to run, or run again.
func (p *progress) pending() []wire.Pending {
	return sorted(slices.Concat(p.again, p.turn[p.at:]))
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

func sorted(ps []wire.Pending) []wire.Pending {
	slices.SortFunc(ps, func(a, b wire.Pending) int { return a.Call - b.Call })
	return ps
}
