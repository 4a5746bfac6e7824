package execute

import (
	"context"
	"time"

	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/observe"
)

// beginCall tells that the current call begins, and returns the context for it. It goes
// on with w, if an observer ended the goroutine that told of it.
func (d *round) beginCall(ctx context.Context, watcher *observers.Worker, w *observers.Call) context.Context {
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
func (d *round) endCall(e *ending) {
	if w := d.watched.Swap(nil); w != nil {
		d.telling = w
		d.tellEnd(w, e.result, e.err)
	}
}

// endGivenUp is endCall for a call that passed its HardTimeout.
func (d *round) endGivenUp(err error) {
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

func (d *round) tellEnd(w *observers.Call, result observe.CallResult, err error) {
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
	r.log().DebugContext(w.Context, "a call ended", attrs...)
}
