package worker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// What travels of a failure is bounded, so that a task cannot fill Redis with
	// its errors: each by itself, and all of a chunk together.
	maxMessage = 16 << 10
	maxStack   = 32 << 10
	maxType    = 256
	maxCodes   = 64
	// maxFailures is about how many bytes the failures of a chunk take together. One
	// takes a 64th of what is left at the most, but each may have leastText.
	maxFailures = 32 << 20
	leastText   = 128
	// maxOutcome bounds a chunk's values.
	maxOutcome = 256 << 20
	// mostSaved is the same of what is saved of a chunk that is not over, in which byte
	// strings are base64 that may be raw in its outcomes.
	mostSaved = 3 * maxOutcome / 2
)

// fail notes that a call failed for good.
func (r *chunkRun) fail(e wire.CallError) {
	r.worker.failures.Add(1)
	e.Worker = r.worker.self.ID
	r.bound(&e)
	at, _ := slices.BinarySearchFunc(r.errors, e.Call, byCall)
	r.errors = slices.Insert(r.errors, at, e)
}

// bound cuts a failure to what may travel of it.
func (r *chunkRun) bound(e *wire.CallError) {
	most := max(leastText, (maxFailures-r.failures)/64)
	e.Message = truncate(e.Message, min(maxMessage, most))
	e.Type = truncate(e.Type, min(maxType, most))
	e.Codes = e.Codes[:min(len(e.Codes), maxCodes)]
	if most < 8*leastText {
		e.Stack = "" // a few lines of it say nothing
	}
	e.Stack = truncate(e.Stack, min(maxStack, most))
	r.failures += e.Size()
}

func byCall(e wire.CallError, i int) int { return e.Call - i }

// failRest fails all calls that have no outcome.
func (r *chunkRun) failRest(kind wire.Kind, msg string) {
	for {
		i, _, ok := r.upcoming()
		if !ok {
			return
		}
		r.advance()
		r.fail(wire.CallError{Call: i, Kind: kind, Message: msg})
	}
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "... (truncated)"
}

func (r *chunkRun) hasFailed(i int) bool {
	if len(r.errors) == 0 {
		return false
	}
	_, ok := slices.BinarySearchFunc(r.errors, i, byCall)
	return ok
}

// lacks reports whether there is no value of call i: it failed, is to run again,
// or has not run.
func (r *chunkRun) lacks(i int) bool {
	return i >= r.next || r.hasFailed(i) || among(r.again, i) || among(r.turn[r.at:], i)
}

// among looks a call up in pending ones. turn is sorted, and so is again: it is
// filled in the order of the run, and the calls of turn come before next.
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

// pending lists the calls below next that are to run, or run again.
func (r *chunkRun) pending() []wire.Pending {
	return sorted(slices.Concat(r.again, r.turn[r.at:]))
}

// finished is the number of calls that have their outcome.
func (r *chunkRun) finished() int { return r.next - len(r.again) - len(r.turn[r.at:]) }

// partial is what the chunk has so far. Calls that wait are due at the given
// time; the zero time is now.
func (r *chunkRun) partial(due time.Time) wire.Partial {
	values := r.encodeBy(r.chunk.Save, mostSaved)
	p := wire.Partial{
		Next: r.next, Pending: r.pending(),
		Outcome: wire.Outcome{First: r.first, Calls: r.calls, Errors: r.errors, Values: values},
	}
	if !due.IsZero() {
		p.Due = due.UnixMilli()
	}
	return p
}

// encode encodes the values of a chunk that is over. Calls whose values cannot travel
// fail.
func (r *chunkRun) encode() []byte { return r.encodeBy(r.chunk.Encode, maxOutcome) }

// encodeBy encodes the values that there are by one of the chunk's ways, to most bytes.
// Whether a value is too large is told by the way in which it is to travel in the end.
func (r *chunkRun) encodeBy(way func(failed func(i int) bool, limit time.Duration) ([]byte, map[int]error), most int) []byte {
	values, bad := way(r.lacks, r.limit())
	limit := r.worker.cfg.MaxResult
	if len(values) > limit {
		if bad == nil {
			bad = map[int]error{}
		}
		for i := range r.chunk.Len() {
			if r.lacks(i) || bad[i] != nil {
				continue
			}
			if size := r.chunk.Size(i, r.limit()); size > limit {
				bad[i] = fmt.Errorf("the value encodes to %d bytes, more than the worker's Config.MaxResult allows (%d); return a reference to the data, or raise the limit", size, limit)
			}
		}
	}
	if len(bad) == 0 && len(values) <= most {
		return values
	}
	for i, err := range bad {
		r.fail(r.badResult(i, err))
	}
	values, _ = way(r.lacks, r.limit())
	for len(values) > most {
		total := len(values)
		r.dropLargest(total-most, func(size int) string {
			return fmt.Sprintf("the value encodes to %d bytes, and the values of the chunk's %d calls to %d, more than the %d that fit; return a reference to the data, or use a smaller ChunkSize", size, r.calls, total, most)
		})
		values, _ = way(r.lacks, r.limit())
	}
	return values
}

// badResult is the failure of a call whose value cannot be encoded.
func (r *chunkRun) badResult(i int, err error) wire.CallError {
	e := wire.CallError{Call: i, Kind: wire.KindBadResult, Message: err.Error(), Attempts: 1}
	if _, left := err.(*guard.Left); left {
		e.Kind, e.Message = wire.KindTimeout, fmt.Sprintf("encoding the call's value did not end within its HardTimeout of %v", r.limit())
		r.worker.recycle(ErrRecycle)
	}
	return e
}

// dropLargest fails the calls with the largest values, at least one and until those are
// that many bytes together. why says it of a value of the given size.
func (r *chunkRun) dropLargest(bytes int, why func(size int) string) {
	type value struct{ call, size int }
	var all []value
	for i := range r.chunk.Len() {
		if !r.lacks(i) {
			all = append(all, value{i, r.chunk.Size(i, r.limit())})
		}
	}
	slices.SortStableFunc(all, func(a, b value) int { return b.size - a.size })
	for _, v := range all {
		r.fail(wire.CallError{Call: v.call, Kind: wire.KindBadResult, Message: why(v.size), Attempts: 1})
		if bytes -= v.size; bytes <= 0 {
			return
		}
	}
}
