package execute

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/wire"
)

// round is one goroutine's work on the chunk's calls. Foreign code may
// end the goroutine: the next round then takes up the call that ran, at the step
// behind the one that failed.
type round struct {
	run    *Run
	ended  chan End      // the goroutine ended like this, or with died
	died   chan struct{} // a panic or Goexit ended it: see death
	stuck  chan struct{} // the current call passed its HardTimeout
	death  death
	before *round // the round that died before this one

	attempt // the current one
}

// death is how a round's goroutine ended.
type death struct {
	value any // of the panic; nil after runtime.Goexit
	stack string
}

func newRound(r *Run, before *round) *round {
	return &round{run: r, ended: make(chan End, 1), died: make(chan struct{}), stuck: make(chan struct{}, 1), before: before}
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
	r.watch.exact = r.on.Exact || r.policy.HardTimeout != nil
	defer r.watch.stop()
	for d := newRound(r, nil); ; {
		go d.work()
		select {
		case e := <-d.ended:
			return e
		case <-d.died:
			if !d.running {
				panic(fmt.Sprintf("distpool: running a chunk: %v\n%s", d.death.value, d.death.stack)) // it is not the call's
			}
			d = newRound(r, d)
		case <-d.stuck:
			d.giveUp()
			return Abandoned
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

// work runs calls until none is left, or one ends the goroutine. No foreign code runs in its
// deferred function: it would not be under guard there.
func (d *round) work() {
	r := d.run
	returned := false
	r.watch.start()
	defer func() {
		if returned {
			return
		}
		p := recover()
		if !d.claimed() {
			return // abandoned before it panicked
		}
		if d.running && d.doing.Load() != inBegin {
			r.watch.calls++
			r.watch.settle(d.call)
			d.measured = true
		}
		d.death = death{p, trimStack(string(debug.Stack()))}
		close(d.died)
	}()
	if d.before != nil && !d.takeUp() {
		returned = true
		return
	}
	for {
		i, attempts, ok := r.upcoming()
		if !ok {
			returned = true
			r.watch.settle(d.call)
			d.ended <- Finished
			return
		}
		if r.ctx.Err() != nil || r.on.Draining.Load() {
			returned = true
			r.watch.settle(d.call)
			d.ended <- Interrupted
			return
		}
		if r.number >= r.on.MaxDeaths || r.watch.mark.Sub(r.saved) > r.every {
			r.watch.settle(d.call)
			r.checkpoint()
			r.watch.start()
		}
		d.begin(i, attempts)
		if !d.one(nil) {
			returned = true
			return
		}
	}
}

// takeUp goes on with the call in which the round before died.
func (d *round) takeUp() bool {
	r, died := d.run, d.before
	d.before = nil
	d.begin(died.call, died.tries)
	d.measured = died.measured
	d.watched.Store(died.watched.Load())
	doing := died.doing.Load()
	if doing == inBegin { // the call itself has not begun
		r.log().Error("an observer called runtime.Goexit in BeginCall", "call", r.first+d.call)
		return d.one(died.telling)
	}
	if t := r.policy.HardTimeout; t != nil {
		defer d.limit(*t, d.stuck).Stop()
	}
	if doing == inEnd {
		r.log().Error("an observer called runtime.Goexit in EndCall", "call", r.first+d.call)
		d.watched.Store(died.telling)
		return d.tell(died.ending)
	}
	return d.tell(d.fatal(died.death))
}

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
