package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

// checkpointEvery is how often a chunk that runs long saves what it has. When
// saving itself takes long it is done less often: a twentieth of the time goes
// into it, unless Redis takes longer than a second for it: what a death costs must
// not grow to minutes because one request hung.
const (
	checkpointEvery = time.Second
	checkpointLast  = 20 * time.Second
)

// untilNextSave is how long after a checkpoint that took so long the next one is due.
func untilNextSave(took time.Duration) time.Duration {
	return min(max(checkpointEvery, 20*took), checkpointLast)
}

// errCallTimeout is the cause with which a call's context ends at its CallTimeout.
var errCallTimeout = errors.New("the call's time is over")

// end is how a round of calls ended.
type end int

const (
	finished    end = iota // every call ran
	interrupted            // the job is over, or the worker drains
	abandoned              // a call did not end in time and was left behind
)

// round is one goroutine's work on the chunk's calls. Code that is not distpool's may
// end the goroutine: the next round then takes up the call that ran, at the step
// behind the one that failed.
type round struct {
	over   chan end      // the goroutine ended like this, or with died
	died   chan struct{} // a panic or Goexit ended it: see death
	stuck  chan struct{} // the current call passed its HardTimeout
	death  death
	before *round // the one that died

	// The current call.
	current  int  // its index in the chunk
	tries    int  // how often it ran before
	running  bool // its outcome has not been noted
	measured bool // the stopwatch has counted it
	doing    atomic.Int32
	ending   *ending                     // how it ended, once observers are told
	telling  *watchedCall                // what observers are being told of
	watched  atomic.Pointer[watchedCall] // what observers know of it; whichever goroutine tells its end takes it
	claim    *atomic.Bool                // set by what ends it: its round, or its HardTimeout; nil without one
}

// What a round does for its current call.
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

// death is how a round's goroutine ended.
type death struct {
	value any // of the panic; nil after runtime.Goexit
	stack string
}

func newRound(before *round) *round {
	return &round{over: make(chan end, 1), died: make(chan struct{}), stuck: make(chan struct{}, 1), before: before}
}

// begin makes call i the current one.
func (d *round) begin(i, tries int) {
	d.current, d.tries, d.running, d.measured, d.claim = i, tries, true, false, nil
	d.do(inTask)
}

func (d *round) do(what int32) {
	if d.doing.Load() != what {
		d.doing.Store(what)
	}
}

// givenUp reports whether the current call passed its HardTimeout.
func (d *round) givenUp() bool { return d.claim != nil && d.claim.Load() }

// claimed reports whether the current call is still this round's to end.
func (d *round) claimed() bool { return d.claim == nil || !d.claim.Swap(true) }

// limit gives the current call up after its HardTimeout.
func (d *round) limit(t time.Duration) *time.Timer {
	claim := new(atomic.Bool)
	d.claim = claim
	return time.AfterFunc(t, func() {
		if !claim.Swap(true) {
			d.stuck <- struct{}{}
		}
	})
}

// runCalls runs what is left of the chunk, one call after the other.
//
// They run on a goroutine of their own, since runtime.Goexit ends the goroutine
// that calls it. A call that ends it so, or by a panic, costs only itself: the
// next goroutine goes on behind it. A call that does not end at all keeps its
// goroutine, which then no longer touches the chunk.
func (r *chunkRun) runCalls() end {
	// No goroutine settles what an abandoned call has begun, and MaxCalls counts each.
	r.watch.exact = r.policy.HardTimeout != nil || r.worker.cfg.MaxCalls > 0
	defer r.watch.stop()
	for d := newRound(nil); ; {
		go r.work(d)
		select {
		case e := <-d.over:
			return e
		case <-d.died:
			if !d.running {
				panic(fmt.Sprintf("distpool: running a chunk: %v\n%s", d.death.value, d.death.stack)) // it is not the call's
			}
			d = newRound(d)
		case <-d.stuck:
			r.giveUp(d)
			return abandoned
		}
	}
}

// giveUp ends the current call at its HardTimeout.
func (r *chunkRun) giveUp(d *round) {
	t := *r.policy.HardTimeout
	e := wire.CallError{
		Call: d.current, Kind: wire.KindTimeout, Attempts: d.tries + 1,
		Message: fmt.Sprintf("the call still ran after its HardTimeout of %v and was given up", t),
	}
	if what := whatIsStuck[d.doing.Load()]; what != "" {
		e.Message += ": " + what + " did not return"
	}
	r.chunk.Abandon(d.current)
	r.endGivenUp(d, errors.New(e.Message))
	r.advance()
	r.failOrRetry(e, call.Failure{})
	r.worker.recycle(ErrRecycle)
}

// work runs calls until none is left, or one ends the goroutine. No foreign code runs in its
// deferred function: it would not be under guard there.
func (r *chunkRun) work(d *round) {
	returned := false
	r.watch.start(&r.worker.metronome)
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
			r.settleClock(d.current)
			d.measured = true
		}
		d.death = death{p, trimStack(string(debug.Stack()))}
		close(d.died)
	}()
	if d.before != nil && !r.takeUp(d) {
		returned = true
		return
	}
	for {
		i, attempts, ok := r.upcoming()
		if !ok {
			returned = true
			r.settleClock(d.current)
			d.over <- finished
			return
		}
		if r.ctx.Err() != nil || r.worker.draining.Load() {
			returned = true
			r.settleClock(d.current)
			d.over <- interrupted
			return
		}
		if r.number >= budget || r.watch.mark.Sub(r.saved) > r.saveEvery {
			r.settleClock(d.current)
			r.checkpoint()
			r.watch.start(&r.worker.metronome)
		}
		d.begin(i, attempts)
		if !r.one(d, nil) {
			returned = true
			return
		}
	}
}

func (r *chunkRun) info(i, attempts int) tasks.CallInfo {
	calls := r.total
	if r.policy.Stream {
		calls = -1
	}
	return tasks.CallInfo{
		Task: r.task, Job: r.delivery.Job, Call: r.first + i, Calls: calls, Chunk: r.delivery.Chunk,
		Attempt: attempts + 1, Delivery: r.number, Worker: r.worker.self.ID, Queue: r.queue,
	}
}

// upcoming is the call to run next, and how often it ran before.
func (r *chunkRun) upcoming() (i, attempts int, ok bool) {
	if r.at < len(r.turn) {
		return r.turn[r.at].Call, r.turn[r.at].Attempts, true
	}
	return r.next, 0, r.next < r.calls
}

func (r *chunkRun) advance() {
	if r.at < len(r.turn) {
		r.at++
	} else {
		r.next++
	}
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

// failOrRetry notes a failure for the next round, if the call has attempts left.
func (r *chunkRun) failOrRetry(e wire.CallError, f call.Failure) {
	if e.Attempts >= r.policy.MaxAttempts() || f.Permanent {
		r.fail(e)
		return
	}
	d := f.Delay
	if !f.Asked {
		d = r.policy.Delay(e.Attempts)
	}
	r.again = append(r.again, wire.Pending{Call: e.Call, Attempts: e.Attempts})
	r.wait, r.why = max(r.wait, d), e
}

// checkpoint saves what the chunk has so far, and hears whether to go on.
func (r *chunkRun) checkpoint() {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
	defer cancel()
	state, err := record.Checkpoint(ctx, r.worker.rdb, refOf(r.delivery), r.delivery.Chunk, r.worker.self.ID, r.partialFrame(time.Time{}), r.finished())
	r.saved = time.Now()
	r.saveEvery = untilNextSave(r.saved.Sub(began))
	switch {
	case record.IsTooLarge(err):
		r.logger().Warn("Redis refuses a checkpoint for its size; should this worker die, the calls run again", "error", err)
	case isFinal(err):
		_ = r.condemn(err)
		r.cancel(errJobEnded)
	case err != nil:
		r.logger().Debug("a checkpoint failed", "error", err)
	case state == record.LostOwnership:
		r.cancel(errNotOurs)
	case state.Ended():
		r.cancel(errJobEnded)
	}
}
