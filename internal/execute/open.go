package execute

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/wire"
)

// open finds the task, and makes its chunk of the encoded arguments. An error fails all
// calls of the chunk, with the kind.
func (r *Run) open(data []byte) (wire.Kind, error) {
	t, ok := r.on.Tasks[r.chunk.Task]
	if !ok {
		return wire.KindUnknownTask, fmt.Errorf("no live worker of queue %q knows the task %q; worker %s knows %s",
			r.chunk.Queue, r.chunk.Task, r.on.Worker, similar(r.chunk.Task, r.on.Tasks))
	}
	if t.CodecName() != r.chunk.Codec {
		return wire.KindBadArgument, fmt.Errorf("the job is encoded with codec %q, the worker's task uses %q; use the same on both sides", r.chunk.Codec, t.CodecName())
	}
	policy, err := call.ParsePolicy(r.chunk.Policy)
	if err == nil {
		r.policy = policy.Over(t.Policy())
		if t := r.policy.HardTimeout; t != nil {
			r.limit = *t
		}
		err = r.policy.CheckLimits()
	}
	if err == nil {
		data, err = r.host.OpenArgs(t, r.first, r.calls, data)
	}
	if err != nil {
		return wire.KindBadArgument, err
	}
	if r.values, err = t.Chunk(data, r.calls); err != nil {
		r.values = nil
		return wire.KindBadArgument, err
	}
	return "", nil
}

// resume takes over what an earlier run saved, and returns when the calls that failed then
// may run again.
func (r *Run) resume() (due time.Time, err error) {
	if len(r.chunk.Partial) == 0 {
		return time.Time{}, nil
	}
	p, err := wire.ParsePartial(r.chunk.Partial)
	if err == nil && (p.Calls != r.calls || p.First != r.first) {
		err = fmt.Errorf("partial outcomes of calls %d and %d more, for a chunk of %d from %d", p.First, p.Calls-1, r.calls, r.first)
	}
	if err == nil {
		p, err = r.host.OpenPartial(p)
	}
	if err != nil {
		return time.Time{}, err
	}
	r.turn, r.next, r.errors = p.Pending, p.Next, p.Errors
	if len(p.Values) > 0 {
		if err := r.restore(p.Values); err != nil {
			return time.Time{}, err
		}
	}
	if p.Due == 0 || p.Waits > 0 && p.Waits == r.chunk.By {
		return time.Time{}, nil // the delivery that waits for its time is there: an operator may have had it run now
	}
	return time.UnixMilli(p.Due), nil
}

// restore takes saved values back. If the codec cannot read them, the calls that have one
// fail; an error says that they are damaged.
func (r *Run) restore(values []byte) error {
	bad, damage := r.values.Restore(values, func(i int) bool { return !r.lacks(i) }, r.limit)
	if damage != nil {
		return fmt.Errorf("partial outcomes of a chunk: %w", damage)
	}
	r.leftBehind("decoding the saved values of a chunk", bad)
	for i := 0; bad != nil && i < r.next; i++ {
		if !r.lacks(i) {
			r.fail(wire.CallError{Call: i, Kind: wire.KindBadResult, Attempts: 1, Message: "the call returned on another worker, which saved its value: " + bad.Error()})
		}
	}
	return nil
}

// blame gives up the call in which the last of several workers died. Before the last
// attempt every call is saved before it runs, so this is the first one that is not
// finished. Where arguments are decoded in one go and nothing was saved, any of them may be
// to blame.
func (r *Run) blame() {
	i, attempts, ok := r.upcoming()
	if !ok {
		return
	}
	if r.values.Splits(r.limit) != nil && len(r.chunk.Partial) == 0 {
		r.failRest(wire.KindWorkerLost, fmt.Sprintf("%d workers died while they decoded the arguments of this call's chunk; the codec cannot decode them one by one", r.chunk.Deaths))
	} else {
		r.advance()
		r.fail(wire.CallError{
			Call: i, Kind: wire.KindWorkerLost, Attempts: attempts + 1,
			Message: fmt.Sprintf("%d workers died while they ran this call's chunk, the last one in this call", r.chunk.Deaths),
		})
	}
	r.checkpoint()
}

// decode decodes the arguments: all in one go, the first time. After a death each call
// decodes its own, so that a decoding that ends the process is the fault of its call alone. So it is
// for a chunk that goes on, since calls that have their outcome need no argument any more.
func (r *Run) decode() {
	r.loads = true
	if _, _, more := r.upcoming(); !more {
		return
	}
	if r.chunk.Deaths > 0 || len(r.chunk.Partial) > 0 {
		err := r.values.Splits(r.limit)
		if err == nil || r.unsplit(err) {
			return
		}
	}
	// What was saved may say that calls run again, whatever the policy is here.
	err := r.values.DecodeAll(r.limit, r.policy.MaxAttempts() > 1 || len(r.chunk.Partial) > 0)
	if err == nil {
		r.loads = false
		return
	}
	r.leftBehind("decoding the arguments of a chunk", err)
	if serr := r.values.Splits(r.limit); serr != nil && !r.unsplit(serr) {
		r.failRest(wire.KindBadArgument, err.Error())
	}
}

// unsplit fails the calls of a chunk whose arguments the codec does not take apart in
// time: it would end the next worker, too.
func (r *Run) unsplit(err error) bool {
	left := r.leftBehind("splitting the arguments of a chunk", err)
	if left {
		r.failRest(wire.KindTimeout, err.Error())
	}
	return left
}

// leftBehind ends this worker if err says that code of the chunk's codec did not return
// in time: it keeps its goroutine.
func (r *Run) leftBehind(what string, err error) bool {
	_, left := err.(*guard.Left)
	if left {
		r.Logger().Error(what+" did not return within the HardTimeout of its calls", "error", err)
		r.on.Recycle()
	}
	return left
}

// namesListed is how many task names an error lists: it travels with each failed call.
const namesListed = 5

// similar lists the names of tasks that begin most like the given one, and says how many more there are.
func similar(name string, tasks map[string]call.Task) string {
	shared := func(other string) int { // so many bytes are the same from the beginning on
		n := 0
		for n < min(len(name), len(other)) && name[n] == other[n] {
			n++
		}
		return n
	}
	names := slices.Sorted(maps.Keys(tasks))
	slices.SortStableFunc(names, func(a, b string) int { return shared(b) - shared(a) })
	n := min(namesListed, len(names))
	listed := strings.Join(names[:n], ", ")
	if more := len(names) - n; more > 0 {
		listed += fmt.Sprintf(" and %d more", more)
	}
	return listed
}
