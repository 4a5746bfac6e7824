package execute

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/wire"
)

// routine is one goroutine's work on the chunk's calls. Foreign code may
// end the goroutine: the next routine then takes up the call that ran, at the step
// behind the one that failed.
type routine struct {
	run   *Run
	ended chan End // how the goroutine ended, or died; Abandoned: the current call passed its HardTimeout
	death death

	// The current attempt.
	call    int  // its index in the chunk
	tries   int  // how often it ran before
	running bool // its outcome has not been noted
	doing   atomic.Int32
	claim   *atomic.Bool                   // set by what ends the call: its routine, or its HardTimeout; nil without one
	ending  *ending                        // how it ended, once observers are told
	telling *observers.Call                // the call as observers are being told of it
	watched atomic.Pointer[observers.Call] // the call as observers know it; the goroutine that tells its end takes it
}

// died is the end of a routine of which a panic or Goexit ended the goroutine.
const died End = -1

// death is how a goroutine died.
type death struct {
	value any // of the panic; nil after runtime.Goexit
	stack string
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

// runCalls runs what is left of the chunk, one call after the other, and calls that failed again.
//
// The calls run on a goroutine of their own, since runtime.Goexit ends the goroutine
// that calls it. A call that ends it so, or by a panic, costs only itself: the
// next goroutine goes on behind it. A call that does not end at all keeps its
// goroutine, which then no longer touches the chunk.
func (r *Run) runCalls() Result {
	// No goroutine counts what an abandoned call has begun.
	r.watch.exact = r.on.Exact || r.policy.HardTimeout != nil || r.calls == 1
	r.watch.start()
	defer r.watch.stop()
	d := &routine{run: r, ended: make(chan End, 1)}
	go d.work(nil)
	for {
		switch end := <-d.ended; end {
		case died:
			if !d.running {
				panic(fmt.Sprintf("distpool: running a chunk: %v\n%s", d.death.value, d.death.stack)) // it is not the call's
			}
			before := d
			d = &routine{run: r, ended: d.ended}
			go d.work(before)
		case Abandoned:
			d.giveUp()
			return r.abandoned()
		case Postponed:
			return r.postponed(r.wait, time.Now().Add(r.wait))
		default:
			return Result{End: end}
		}
	}
}

// abandoned is how a run ends with a call that was given up. This worker ends, so the next one runs
// what is left, and spends a short wait for the next attempts.
func (r *Run) abandoned() Result {
	due := time.Now().Add(r.wait)
	_, _, more := r.upcoming()
	switch {
	case more:
		return Result{End: Abandoned, Stuck: true}
	case len(r.again) == 0:
		return Result{End: Finished, Stuck: true}
	case r.wait <= waitHere+time.Second:
		return Result{End: Abandoned, Stuck: true, Due: due}
	}
	res := r.postponed(r.wait, due)
	res.Stuck = true
	return res
}

// giveUp ends the current call at its HardTimeout.
func (d *routine) giveUp() {
	r := d.run
	t := *r.policy.HardTimeout
	e := wire.CallError{
		Call: d.call, Kind: wire.KindTimeout, Attempts: d.tries + 1,
		Message: fmt.Sprintf("the call still ran after its HardTimeout of %v and was given up", t),
	}
	if what := whatIsStuck[d.doing.Load()]; what != "" {
		e.Message += ": " + what + " did not return"
	}
	r.values.Abandon(d.call)
	d.endGivenUp(errors.New(e.Message))
	r.advance()
	d.failOrRetry(e, call.Failure{})
	r.on.Recycle()
}

// work runs calls until none is left, or one ends the goroutine. It begins with the one in which
// the routine before died, if there is one. No foreign code runs in its deferred function: it would
// not be under guard there.
func (d *routine) work(before *routine) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		if !d.claimed() {
			return // abandoned before it panicked
		}
		d.death = death{p, trimStack(string(debug.Stack()))}
		d.ended <- died
	}()
	for more := before == nil || d.takeUp(before); more; {
		more = d.next()
	}
	returned = true
}

// next runs the upcoming call. It returns false when the routine is over.
func (d *routine) next() bool {
	r := d.run
	i, attempts, ok := r.upcoming()
	switch {
	case ok:
	case len(r.again) == 0:
		return d.end(Finished)
	case r.wait > waitHere:
		return d.end(Postponed)
	default:
		r.watch.settle(d.call)
		if !Pause(r.ctx, r.wait) {
			return d.end(Interrupted)
		}
		r.watch.start()
		r.nextRound()
		return true
	}
	if r.ctx.Err() != nil || r.on.Serving.Err() != nil {
		return d.end(Interrupted)
	}
	if r.number >= r.on.MaxDeaths || r.watch.mark.Sub(r.saved) > r.every {
		r.watch.settle(d.call)
		r.checkpoint()
		r.watch.start()
	}
	d.begin(i, attempts)
	return d.one(nil)
}

// end ends the routine. It returns false.
func (d *routine) end(e End) bool {
	d.run.watch.settle(d.call)
	d.ended <- e
	return false
}

// takeUp goes on with the call in which the routine before died.
func (d *routine) takeUp(before *routine) bool {
	r := d.run
	d.begin(before.call, before.tries)
	d.watched.Store(before.watched.Load())
	doing := before.doing.Load()
	if doing == inBegin { // the call itself has not begun
		r.Logger().Error("an observer called runtime.Goexit in BeginCall", "call", r.first+d.call)
		return d.one(before.telling)
	}
	if t := r.policy.HardTimeout; t != nil {
		defer d.limit(*t).Stop()
	}
	if doing == inEnd {
		r.Logger().Error("an observer called runtime.Goexit in EndCall", "call", r.first+d.call)
		d.watched.Store(before.telling)
		return d.tell(before.ending)
	}
	return d.tell(d.fatal(before.death))
}

// begin makes the current attempt that of call i.
func (d *routine) begin(i, tries int) {
	d.call, d.tries, d.running, d.claim = i, tries, true, nil
	d.do(inTask)
}

func (d *routine) do(step int32) {
	if d.doing.Load() != step {
		d.doing.Store(step)
	}
}

// limit gives the current attempt up after its HardTimeout.
func (d *routine) limit(t time.Duration) *time.Timer {
	claim := new(atomic.Bool)
	d.claim = claim
	return time.AfterFunc(t, func() {
		if !claim.Swap(true) {
			d.ended <- Abandoned
		}
	})
}

// givenUp reports whether the current attempt passed its HardTimeout.
func (d *routine) givenUp() bool { return d.claim != nil && d.claim.Load() }

// claimed reports whether the current attempt is still the routine's to end. It answers true once.
func (d *routine) claimed() bool { return d.claim == nil || !d.claim.Swap(true) }

// trimStack drops the frames above the one that panicked or called Goexit: they
// are the runtime's and ours.
func trimStack(stack string) string {
	head, _, _ := strings.Cut(stack, "\n")
	for _, mark := range []string{"\npanic(", "\nruntime.Goexit("} {
		if i := strings.Index(stack, mark); i >= 0 {
			// Two lines to a frame: its function, and its place.
			if lines := strings.SplitN(stack[i+1:], "\n", 3); len(lines) == 3 {
				return head + "\n" + lines[2]
			}
		}
	}
	return stack
}
