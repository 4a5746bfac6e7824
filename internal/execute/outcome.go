package execute

import (
	"fmt"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// maxOutcome bounds a chunk's values, in bytes.
	maxOutcome = 256 << 20
	// maxSaved is the same for a checkpoint, in which byte strings are base64 that may be
	// raw in the outcomes.
	maxSaved = 3 * maxOutcome / 2
)

// Calls are the index in the job of the chunk's first call, and the number of calls; 0 until
// they are known.
func (r *Run) Calls() (first, n int) { return r.first, r.calls }

// Failures are the calls that failed for good, ascending. The caller must not change them.
func (r *Run) Failures() []wire.CallError { return r.errors }

// Slowest is the slowest call, by its index in the job, of those that ran here. In a job of
// one call it is not looked for, and took is 0.
func (r *Run) Slowest() (call int, took time.Duration) {
	if r.chunk.Total < 2 {
		return 0, 0
	}
	return r.first + r.watch.slowest, r.watch.longest
}

// Outcome is what is to be recorded of a chunk in which each call has its outcome. Calls
// whose values cannot travel fail.
func (r *Run) Outcome() wire.Outcome {
	var values []byte
	if r.values != nil {
		values = r.encode(r.values.Encode, maxOutcome)
	}
	return wire.Outcome{First: r.first, Calls: r.calls, Errors: r.errors, Values: values}
}

// Partial is what another worker goes on with. Calls that failed are due at the given time;
// the zero time is now. ok is false if there is nothing to go on with.
func (r *Run) Partial(due time.Time) (p wire.Partial, ok bool) {
	if r.values == nil {
		return wire.Partial{}, false
	}
	values := r.encode(r.values.Save, maxSaved)
	p = wire.Partial{
		Next: r.next, Pending: r.pending(),
		Outcome: wire.Outcome{First: r.first, Calls: r.calls, Errors: r.errors, Values: values},
	}
	if !due.IsZero() {
		p.Due = due.UnixMilli()
	}
	return p, true
}

// Shrink makes an Outcome or Partial smaller that cannot be stored for its size: the calls
// with the largest values fail, of so many bytes together at least, with what why says of
// a value's size. Without values it shortens the texts of failures. It is false if nothing
// is left to leave out.
func (r *Run) Shrink(by int, why func(size int) string) bool {
	before := len(r.errors)
	if r.values != nil {
		r.dropLargest(by, why)
	}
	return len(r.errors) > before || r.shorten()
}

// encode encodes the values that there are by one of the chunk's ways, to most bytes.
// Whether a value is too large depends on the form in which it is to travel in the end.
func (r *Run) encode(way func(failed func(i int) bool, limit time.Duration) ([]byte, map[int]error), most int) []byte {
	values, bad := way(r.lacks, r.limit)
	if limit := r.on.MaxResult; len(values) > limit {
		if bad == nil {
			bad = map[int]error{}
		}
		for i := range r.values.Len() {
			if r.lacks(i) || bad[i] != nil {
				continue
			}
			if size := r.values.Size(i, r.limit); size > limit {
				bad[i] = fmt.Errorf("the value encodes to %d bytes, more than the worker's Config.MaxResult allows (%d); return a reference to the data, or raise the limit", size, limit)
			}
		}
	}
	if len(bad) == 0 && len(values) <= most {
		return values
	}
	for i, err := range bad {
		e := wire.CallError{Call: i, Kind: wire.KindBadResult, Message: err.Error(), Attempts: 1}
		if _, left := err.(*guard.Left); left {
			e.Kind, e.Message = wire.KindTimeout, fmt.Sprintf("encoding the call's value did not end within its HardTimeout of %v", r.limit)
			r.on.Recycle()
		}
		r.fail(e)
	}
	values, _ = way(r.lacks, r.limit)
	for len(values) > most {
		total := len(values)
		r.dropLargest(total-most, func(size int) string {
			return fmt.Sprintf("the value encodes to %d bytes, and the values of the chunk's %d calls to %d, more than the %d that fit; return a reference to the data, or use a smaller ChunkSize", size, r.calls, total, most)
		})
		values, _ = way(r.lacks, r.limit)
	}
	return values
}

// dropLargest fails the calls with the largest values: at least one, and until those are
// that many bytes together. why says it of a value of the given size.
func (r *Run) dropLargest(bytes int, why func(size int) string) {
	type value struct{ call, size int }
	var all []value
	for i := range r.values.Len() {
		if !r.lacks(i) {
			all = append(all, value{i, r.values.Size(i, r.limit)})
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
