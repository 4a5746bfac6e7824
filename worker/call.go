package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/tasks"
)

// ending is how a call ended.
type ending struct {
	result  observe.CallResult
	err     error          // as observers get it
	failed  bool           // with:
	fault   wire.CallError // as it travels
	failure call.Failure   // what it says about retries
}

// fine is how calls end that return a value. It is not changed.
var fine = &ending{result: observe.CallOK}

// errBeginTookLong is what observers are told of a call that was given up in BeginCall.
var errBeginTookLong = errors.New("the call passed its HardTimeout before its BeginCall returned, and was given up")

// one runs the current call. It returns false when the round is over with it. told is
// what observers were told of its begin already.
func (r *chunkRun) one(d *round, told *watchedCall) bool {
	i := d.current
	own := r.callContext(i, d.tries)
	defer own.slot.end()
	if t := r.policy.HardTimeout; t != nil {
		defer d.limit(*t).Stop()
	}
	if r.loads || d.tries > 0 {
		d.do(inArgument)
		err := r.chunk.Load(i, d.tries > 0)
		if d.givenUp() {
			return false // meanwhile: the task must not run beside its next attempt
		}
		if err != nil {
			return r.settle(d, &ending{failed: true, failure: call.Failure{Permanent: true}, fault: wire.CallError{Call: i, Kind: wire.KindBadArgument, Message: err.Error()}})
		}
	}
	var ctx context.Context = own
	watcher := r.worker.watcher
	if watcher != nil {
		d.do(inBegin)
		ctx = r.beginCall(ctx, d, watcher, told)
		if d.givenUp() {
			r.endGivenUp(d, errBeginTookLong)
			return false
		}
	}
	d.do(inTask)
	if t := r.policy.CallTimeout; t != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, *t, errCallTimeout)
		defer cancel()
	}
	err := r.chunk.Call(ctx, i)
	if err == call.ErrAbandoned {
		return false
	}
	if err != nil || watcher != nil {
		return r.tell(d, r.returned(ctx, d, err))
	}
	if !d.claimed() { // settle, for what happens nearly always
		return false
	}
	d.running, d.claim = false, nil
	r.advance()
	r.lap(i)
	return true
}

// takeUp goes on with the call in which the round before died.
func (r *chunkRun) takeUp(d *round) bool {
	died := d.before
	d.before = nil
	d.begin(died.current, died.tries)
	d.measured = died.measured
	d.watched.Store(died.watched.Load())
	doing := died.doing.Load()
	if doing == inBegin { // the call itself has not begun
		r.logger().Error("an observer called runtime.Goexit in BeginCall", "call", r.first+d.current)
		return r.one(d, died.telling)
	}
	if t := r.policy.HardTimeout; t != nil {
		defer d.limit(*t).Stop()
	}
	if doing == inEnd {
		r.logger().Error("an observer called runtime.Goexit in EndCall", "call", r.first+d.current)
		d.watched.Store(died.telling)
		return r.tell(d, died.ending)
	}
	return r.tell(d, r.died(d, died.death))
}

// returned is how the current call ended that returned err.
func (r *chunkRun) returned(ctx context.Context, d *round, err error) *ending {
	if err == nil {
		return fine
	}
	d.do(inError)
	f := tasks.Examine(err)
	e := &ending{result: observe.CallFailed, err: err, failed: true, failure: f}
	if !f.Sane {
		e.err = errors.New(f.Message)
	}
	e.fault = wire.CallError{Call: d.current, Kind: wire.KindError, Message: f.Message, Type: f.Type, Codes: f.Codes, Attempts: d.tries + 1}
	switch {
	case r.ctx.Err() != nil: // most likely for that reason; it is not the call's failure
		e.result = observe.CallInterrupted
	case context.Cause(ctx) == errCallTimeout:
		e.result, e.fault.Kind = observe.CallTimeout, wire.KindTimeout
		e.fault.Message = fmt.Sprintf("timed out after its CallTimeout of %v: %s", *r.policy.CallTimeout, f.Message)
	}
	return e
}

// died is how the current call ended that ended its goroutine.
func (r *chunkRun) died(d *round, how death) *ending {
	d.do(inError)
	e := &ending{result: observe.CallFailed, failed: true, fault: wire.CallError{Call: d.current, Stack: how.stack, Attempts: d.tries + 1}}
	if how.value == nil {
		e.err = errors.New("the task called runtime.Goexit")
		e.fault.Kind, e.fault.Message = wire.KindGoexit, e.err.Error()
		return e
	}
	e.fault.Kind, e.fault.Type = wire.KindPanic, fmt.Sprintf("%T", how.value)
	err, ok := how.value.(error)
	if !ok {
		e.fault.Message = guard.Text(how.value)
		e.err = fmt.Errorf("panic: %s", e.fault.Message)
		return e
	}
	e.failure = tasks.Examine(err)
	e.fault.Message, e.fault.Codes = e.failure.Message, e.failure.Codes
	e.err = fmt.Errorf("panic: %s", e.fault.Message)
	if e.failure.Sane {
		e.err = fmt.Errorf("panic: %w", err)
	}
	return e
}

// tell tells observers how the current call ended, and notes it.
func (r *chunkRun) tell(d *round, e *ending) bool {
	if d.watched.Load() != nil {
		d.ending = e
		d.do(inEnd)
		r.endCall(d, e)
	}
	return r.settle(d, e)
}

// settle notes how the current call ended: once, and the calls go on behind it. It
// returns false when the round is over with it, or the call was given up meanwhile.
func (r *chunkRun) settle(d *round, e *ending) bool {
	if !d.claimed() {
		return false // too late: the call was given up
	}
	d.running, d.claim = false, nil
	if e.result == observe.CallInterrupted {
		r.settleClock(d.current)
		d.over <- interrupted
		return false
	}
	r.advance()
	if !d.measured && e.fault.Kind != wire.KindBadArgument {
		r.lap(d.current)
	}
	if e.failed {
		r.settleClock(d.current)
		r.failOrRetry(e.fault, e.failure)
	}
	return true
}
