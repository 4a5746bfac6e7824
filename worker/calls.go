package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
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

// round is one goroutine's work on the chunk's calls.
type round struct {
	over    chan end      // the goroutine ended like this, or with died
	died    chan struct{} // a panic or Goexit ended it; what it was is noted
	stuck   chan int      // this call passed its HardTimeout
	current int           // the call that runs
	tries   int           // how often it ran before
	watched watchedCall   // what observers know of it
	claim   *atomic.Bool  // set by whoever ends the current call: its return, or its HardTimeout; nil without one
}

// runCalls runs what is left of the chunk, one call after the other.
//
// They run on a goroutine of their own, since runtime.Goexit ends the goroutine
// that calls it. A call that ends it so, or by a panic, costs only itself: the
// next goroutine goes on behind it. A call that does not end at all keeps its
// goroutine, which then no longer touches the chunk.
func (r *chunkRun) runCalls() end {
	// Nobody settles what an abandoned call has begun, and MaxCalls counts each.
	r.watch.exact = r.policy.HardTimeout != nil || r.worker.cfg.MaxCalls > 0
	defer r.watch.stop()
	for {
		d := &round{over: make(chan end, 1), died: make(chan struct{}), stuck: make(chan int, 1)}
		go r.work(d)
		select {
		case e := <-d.over:
			return e
		case <-d.died:
		case i := <-d.stuck:
			r.chunk.Abandon(i)
			r.endCall(d, observe.CallTimeout, fmt.Errorf("it still ran after its HardTimeout of %v", *r.policy.HardTimeout))
			r.advance()
			r.failOrRetry(wire.CallError{
				Call: i, Kind: wire.KindTimeout, Attempts: d.tries + 1,
				Message: fmt.Sprintf("the call still ran after its HardTimeout of %v and was given up", *r.policy.HardTimeout),
			}, nil)
			r.worker.recycle(ErrRecycle)
			return abandoned
		}
	}
}

// work runs calls until none is left, or one ends the goroutine.
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
		r.endPanicked(d, p)
		r.advance()
		r.watch.calls++
		r.settleClock(d.current)
		r.panicked(d.current, d.tries+1, p)
		close(d.died)
	}()
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
		if !r.one(d, i, attempts) {
			returned = true
			return
		}
	}
}

// claimed reports whether the current call is still this round's to end.
func (d *round) claimed() bool { return d.claim == nil || !d.claim.Swap(true) }

// one runs one call. It returns false when the round is over with it.
func (r *chunkRun) one(d *round, i, attempts int) bool {
	d.current, d.tries, d.claim = i, attempts, nil
	if err := r.chunk.Bad(i); err != nil {
		r.advance()
		r.fail(wire.CallError{Call: i, Kind: wire.KindBadArgument, Message: err.Error()})
		return true
	}
	own := r.callContext(i, attempts)
	defer own.slot.end()
	var ctx context.Context = own
	if r.worker.watcher != nil {
		ctx = r.beginCall(ctx, d, i, attempts)
	}
	if t := r.policy.CallTimeout; t != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, *t, errCallTimeout)
		defer cancel()
	}
	if t := r.policy.HardTimeout; t != nil {
		claim := new(atomic.Bool)
		d.claim = claim
		timer := time.AfterFunc(*t, func() {
			if !claim.Swap(true) {
				d.stuck <- i
			}
		})
		defer timer.Stop()
	}
	err := r.chunk.Call(ctx, i)
	if !d.claimed() {
		return false // too late: nobody waits for this goroutine
	}
	if err != nil && r.ctx.Err() != nil {
		r.settleClock(i)
		r.endCall(d, observe.CallInterrupted, err)
		d.over <- interrupted // most likely for that reason; it is not the call's failure
		return false
	}
	r.advance()
	r.lap(i)
	if err == nil {
		r.endCall(d, observe.CallOK, nil)
		return true
	}
	r.settleClock(i)
	e := wire.CallError{
		Call: i, Kind: wire.KindError, Message: err.Error(), Type: typeName(err),
		Codes: tasks.ErrorCodes(err), Attempts: attempts + 1,
	}
	if errors.Is(context.Cause(ctx), errCallTimeout) {
		e.Kind = wire.KindTimeout
		e.Message = fmt.Sprintf("timed out after its CallTimeout of %v: %s", *r.policy.CallTimeout, e.Message)
		r.endCall(d, observe.CallTimeout, err)
	} else {
		r.endCall(d, observe.CallFailed, err)
	}
	r.failOrRetry(e, err)
	return true
}

// typeName is the type of the error that the task made, without our marks on it.
func typeName(err error) string {
	for {
		name := fmt.Sprintf("%T", err)
		inner := errors.Unwrap(err)
		if inner == nil || !strings.HasPrefix(name, "*tasks.permanent") && !strings.HasPrefix(name, "*tasks.retryAfter") {
			return name
		}
		err = inner
	}
}

func (r *chunkRun) info(i, attempts int) tasks.CallInfo {
	return tasks.CallInfo{
		Task: r.task, Job: r.delivery.Job, Call: r.first + i, Calls: r.total, Chunk: r.delivery.Chunk,
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

// panicked notes that call i ended its goroutine: p is the panic's value, nil
// after runtime.Goexit.
func (r *chunkRun) panicked(i, attempts int, p any) {
	e := wire.CallError{Call: i, Kind: wire.KindPanic, Message: fmt.Sprint(p), Type: fmt.Sprintf("%T", p), Attempts: attempts}
	err, ok := p.(error)
	if ok {
		e.Codes = tasks.ErrorCodes(err)
	}
	if p == nil {
		e.Kind, e.Type, e.Message = wire.KindGoexit, "", "the task called runtime.Goexit"
	}
	e.Stack = trimStack(string(debug.Stack()))
	r.failOrRetry(e, err)
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
// err may be nil.
func (r *chunkRun) failOrRetry(e wire.CallError, err error) {
	if e.Attempts >= r.policy.MaxAttempts() || tasks.IsPermanent(err) {
		r.fail(e)
		return
	}
	d, asked := tasks.RetryDelay(err)
	if !asked {
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
	case err != nil:
		r.logger().Debug("a checkpoint failed", "error", err)
	case state == record.LostOwnership:
		r.cancel(errNotOurs)
	case state.Ended():
		r.cancel(errJobEnded)
	}
}
