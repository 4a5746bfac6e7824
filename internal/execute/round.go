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

// round is one goroutine's work on the chunk's calls. Foreign code may
// end the goroutine: the next round then takes up the call that ran, at the step
// behind the one that failed.
type round struct {
	run   *Run
	ended chan End // how the goroutine ended, or died; Abandoned: the current call passed its HardTimeout
	death death

	// The current attempt.
	call    int  // its index in the chunk
	tries   int  // how often it ran before
	running bool // its outcome has not been noted
	doing   atomic.Int32
	claim   *atomic.Bool                   // set by what ends the call: its round, or its HardTimeout; nil without one
	ending  *ending                        // how it ended, once observers are told
	telling *observers.Call                // the call as observers are being told of it
	watched atomic.Pointer[observers.Call] // the call as observers know it; the goroutine that tells its end takes it
}

// died is the end of a round of which a panic or Goexit ended the goroutine.
const died End = -1

// death is how a round's goroutine died.
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

// runCalls runs what is left of the chunk, one call after the other. The end is Finished,
// Interrupted or Abandoned.
//
// The calls run on a goroutine of their own, since runtime.Goexit ends the goroutine
// that calls it. A call that ends it so, or by a panic, costs only itself: the
// next goroutine goes on behind it. A call that does not end at all keeps its
// goroutine, which then no longer touches the chunk.
func (r *Run) runCalls() End {
	// No goroutine counts what an abandoned call has begun.
	r.watch.exact = r.on.Exact || r.policy.HardTimeout != nil || r.calls == 1
	r.watch.start()
	defer r.watch.stop()
	d := &round{run: r, ended: make(chan End, 1)}
	go d.work(nil)
	for {
		switch end := <-d.ended; end {
		case died:
			if !d.running {
				panic(fmt.Sprintf("distpool: running a chunk: %v\n%s", d.death.value, d.death.stack)) // it is not the call's
			}
			before := d
			d = &round{run: r, ended: d.ended}
			go d.work(before)
		case Abandoned:
			d.giveUp()
			return Abandoned
		default:
			return end
		}
	}
}

// giveUp ends the current call at its HardTimeout.
func (d *round) giveUp() {
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
// the round before died, if there is one. No foreign code runs in its deferred function: it would
// not be under guard there.
func (d *round) work(before *round) {
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

// next runs the upcoming call. It returns false when the round is over.
func (d *round) next() bool {
	r := d.run
	i, attempts, ok := r.upcoming()
	if !ok {
		return d.end(Finished)
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

// end ends the round. It returns false.
func (d *round) end(e End) bool {
	d.run.watch.settle(d.call)
	d.ended <- e
	return false
}

// takeUp goes on with the call in which the round before died.
func (d *round) takeUp(before *round) bool {
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
func (d *round) begin(i, tries int) {
	d.call, d.tries, d.running, d.claim = i, tries, true, nil
	d.do(inTask)
}

func (d *round) do(step int32) {
	if d.doing.Load() != step {
		d.doing.Store(step)
	}
}

// limit gives the current attempt up after its HardTimeout.
func (d *round) limit(t time.Duration) *time.Timer {
	claim := new(atomic.Bool)
	d.claim = claim
	return time.AfterFunc(t, func() {
		if !claim.Swap(true) {
			d.ended <- Abandoned
		}
	})
}

// givenUp reports whether the current attempt passed its HardTimeout.
func (d *round) givenUp() bool { return d.claim != nil && d.claim.Load() }

// claimed reports whether the current attempt is still the round's to end. It answers true once.
func (d *round) claimed() bool { return d.claim == nil || !d.claim.Swap(true) }

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
