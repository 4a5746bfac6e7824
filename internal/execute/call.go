package execute

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/tasks"
)

// errCallTimeout is the cause with which a call's context ends at its CallTimeout.
var errCallTimeout = errors.New("the call's time is over")

// errBeginTookLong is what observers are told of a call that was given up in BeginCall.
var errBeginTookLong = errors.New("the call passed its HardTimeout before its BeginCall returned, and was given up")

// one runs the current call. It returns false when the routine is over with it. told is
// the call if observers were told of its begin already.
func (d *routine) one(told *observers.Call) bool {
	r, i := d.run, d.call
	own := r.contexts.next(r, i, d.tries)
	var limit *time.Timer
	if t := r.policy.HardTimeout; t != nil {
		limit = d.limit(*t)
	}
	defer leave(&own.slot, limit) // one defer for both: with a third the compiler open-codes none, and each call takes 15 ns more
	if r.loads || d.tries > 0 {
		d.do(inArgument)
		err := r.values.Load(i, d.tries > 0)
		if d.givenUp() {
			return false // meanwhile: the task must not run beside its next attempt
		}
		if err != nil {
			return d.settle(&ending{failure: call.Failure{Permanent: true}, fault: wire.CallError{Call: i, Kind: wire.KindBadArgument, Message: err.Error()}})
		}
	}
	var ctx context.Context = own
	watcher := r.on.Observers
	if watcher != nil {
		d.do(inBegin)
		ctx = d.beginCall(ctx, watcher, told)
		if d.givenUp() {
			d.endGivenUp(errBeginTookLong)
			return false
		}
	}
	d.do(inTask)
	if t := r.policy.CallTimeout; t != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, *t, errCallTimeout)
		defer cancel()
	}
	err := r.values.Call(ctx, i)
	if err == call.ErrAbandoned {
		return false
	}
	if err != nil || watcher != nil {
		return d.tell(d.returned(ctx, err))
	}
	return d.settle(fine)
}

func leave(slot *callSlot, limit *time.Timer) {
	if limit != nil {
		limit.Stop()
	}
	slot.end()
}

// ending is how a call ended.
type ending struct {
	result  observe.CallResult
	err     error          // as observers get it
	fault   wire.CallError // as it travels; without a kind the call has not failed
	failure call.Failure   // what it says about retries
}

// fine is how calls end that return a value. It is not changed.
var fine = &ending{result: observe.CallOK}

// returned is how the current call ended that returned err.
func (d *routine) returned(ctx context.Context, err error) *ending {
	if err == nil {
		return fine
	}
	d.do(inError)
	f := tasks.Examine(err)
	e := &ending{result: observe.CallFailed, err: err, failure: f}
	if !f.Sane {
		e.err = errors.New(f.Message)
	}
	e.fault = wire.CallError{Call: d.call, Kind: wire.KindError, Message: f.Message, Type: f.Type, Codes: f.Codes, Attempts: d.tries + 1}
	switch {
	case d.run.ctx.Err() != nil: // most likely for that reason; it is not the call's failure
		e.result = observe.CallInterrupted
	case context.Cause(ctx) == errCallTimeout:
		e.result, e.fault.Kind = observe.CallTimeout, wire.KindTimeout
		e.fault.Message = fmt.Sprintf("timed out after its CallTimeout of %v: %s", *d.run.policy.CallTimeout, f.Message)
	}
	return e
}

// fatal is how the current call ended that ended its goroutine.
func (d *routine) fatal(how death) *ending {
	d.do(inError)
	e := &ending{result: observe.CallFailed, fault: wire.CallError{Call: d.call, Stack: how.stack, Attempts: d.tries + 1}}
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
		e.err = &panicError{e.err.Error(), err}
	}
	return e
}

// panicError is an error that a task panicked with, as observers get it. It has its text:
// fmt would call a Format of the error, which no guard is around.
type panicError struct {
	text string
	err  error
}

func (e *panicError) Error() string { return e.text }
func (e *panicError) Unwrap() error { return e.err }

// tell tells observers how the current call ended, and notes it.
func (d *routine) tell(e *ending) bool {
	if d.watched.Load() != nil {
		d.ending = e
		d.do(inEnd)
		d.endCall(e)
	}
	return d.settle(e)
}

// settle notes how the current call ended: once, and the calls go on behind it. It
// returns false when the routine is over with it, or the call was given up meanwhile.
func (d *routine) settle(e *ending) bool {
	r := d.run
	if !d.claimed() {
		return false // too late: the call was given up
	}
	d.running, d.claim = false, nil
	if e.result == observe.CallInterrupted {
		return d.end(Interrupted)
	}
	r.advance()
	if e.fault.Kind != wire.KindBadArgument {
		r.watch.lap(d.call)
	}
	if e.fault.Kind != "" {
		r.watch.settle(d.call)
		d.failOrRetry(e.fault, e.failure)
	}
	return true
}

// failOrRetry notes a failure for the next round, if the call has attempts left.
func (d *routine) failOrRetry(e wire.CallError, f call.Failure) {
	r := d.run
	if e.Attempts >= r.policy.MaxAttempts() || f.Permanent {
		r.fail(e)
		return
	}
	wait := f.Delay
	if !f.Asked {
		wait = r.policy.Delay(e.Attempts)
	}
	r.retry(e, wait)
}

// beginCall tells that the current call begins, and returns the context for it. It goes
// on with w, if an observer ended the goroutine that told of it.
func (d *routine) beginCall(ctx context.Context, watcher *observers.Worker, w *observers.Call) context.Context {
	if w == nil {
		r := d.run
		w = &observers.Call{Context: ctx, Call: &observe.Call{
			Job: r.chunk.Job, Chunk: r.chunk.Number, Call: r.first + d.call, Task: r.chunk.Task, Queue: r.chunk.Queue,
			Worker: r.on.Worker, Attempt: d.tries + 1,
		}}
	}
	d.telling = w
	watcher.BeginCall(w)
	d.watched.Store(w)
	return w.Context
}

// endCall tells how the current call ended, if that has not been told.
func (d *routine) endCall(e *ending) {
	if w := d.watched.Swap(nil); w != nil {
		d.telling = w
		d.tellEnd(w, e.result, e.err)
	}
}

// endGivenUp is endCall for a call that passed its HardTimeout.
func (d *routine) endGivenUp(err error) {
	w := d.watched.Swap(nil)
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for again := guard.ErrGoexit; again == guard.ErrGoexit; {
		again = guard.Apart(ctx, func() error {
			d.tellEnd(w, observe.CallTimeout, err)
			return nil
		})
	}
}

func (d *routine) tellEnd(w *observers.Call, result observe.CallResult, err error) {
	r := d.run
	end := observe.CallEnd{Result: result, Err: err, Took: time.Since(w.Began)}
	r.on.Observers.EndCall(w, end)
	if !r.on.Debug {
		return
	}
	attrs := []any{"call", w.Call.Call, "attempt", w.Attempt, "result", result, "took", end.Took}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	r.Logger().DebugContext(w.Context, "a call ended", attrs...)
}
