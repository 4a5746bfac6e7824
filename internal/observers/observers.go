// Package observers makes one observer of several, and a Redis hook of one.
package observers

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/observe"
)

// Pools makes one observer of os: nil of none, and an error when one is nil. A panic in
// one of them is logged and harms nothing. So is runtime.Goexit, except in
// BeginSubmit and EndSubmit, where it ends the goroutine of the caller of the pool.
func Pools(os []observe.Pool, log *slog.Logger) (observe.Pool, error) {
	if i := slices.Index(os, nil); i >= 0 {
		return nil, isNil(i)
	}
	if len(os) == 0 {
		return nil, nil
	}
	return &pools{guarded[observe.Pool]{slices.Clone(os), log, atomic.Int64{}}}, nil
}

// Workers is Pools for workers; see Worker.
func Workers(os []observe.Worker, log *slog.Logger) (*Worker, error) {
	if i := slices.Index(os, nil); i >= 0 {
		return nil, isNil(i)
	}
	if len(os) == 0 {
		return nil, nil
	}
	return &Worker{guarded[observe.Worker]{slices.Clone(os), log, atomic.Int64{}}}, nil
}

func isNil(i int) error {
	return fmt.Errorf("field Observers: number %d is nil; leave it out", i)
}

// guarded calls observers under guard.
type guarded[O any] struct {
	all    []O
	log    *slog.Logger
	logged atomic.Int64 // when a fault was last logged: Unix time, s
}

// here calls f with o. It recovers a panic.
func (g *guarded[O]) here(method string, o O, f func(O)) {
	defer func() {
		if p := recover(); p != nil {
			g.fault(method, o, guard.Text(p), debug.Stack())
		}
	}()
	f(o)
}

// apart calls f with each observer on another goroutine, and waits. backward is the
// order at the end of something.
func (g *guarded[O]) apart(method string, backward bool, f func(O)) {
	at := 0
	for at < len(g.all) {
		var o O
		err := guard.Apart(context.Background(), func() error {
			for at < len(g.all) {
				i := at
				if backward {
					i = len(g.all) - 1 - at
				}
				at++
				o = g.all[i]
				g.here(method, o, f)
			}
			return nil
		})
		if err != nil {
			g.fault(method, o, err.Error(), nil)
		}
	}
}

// fault logs what an observer did. Once in a second is enough: it may do so each time.
func (g *guarded[O]) fault(method string, o O, what string, stack []byte) {
	nowSec := time.Now().Unix()
	if g.logged.Swap(nowSec) == nowSec {
		return
	}
	g.log.Error("an observer panicked or ended its goroutine", "observer", fmt.Sprintf("%T", o), "method", method, "panic", what, "stack", string(stack))
}

type pools struct{ guarded[observe.Pool] }

func (os *pools) OpenPool(s observe.PoolState) {
	os.apart("OpenPool", false, func(o observe.Pool) { o.OpenPool(s) })
}

func (os *pools) ClosePool(s observe.PoolState) {
	os.apart("ClosePool", true, func(o observe.Pool) { o.ClosePool(s) })
}

func (os *pools) BeginSubmit(ctx context.Context, s *observe.Submission) context.Context {
	for _, o := range os.all {
		os.here("BeginSubmit", o, func(o observe.Pool) { ctx = within(o.BeginSubmit(ctx, s), ctx) })
	}
	return ctx
}

func (os *pools) EndSubmit(ctx context.Context, s *observe.Submission, err error) {
	for _, o := range slices.Backward(os.all) {
		os.here("EndSubmit", o, func(o observe.Pool) { o.EndSubmit(ctx, s, err) })
	}
}

func (os *pools) Settle(s observe.Settlement) {
	os.apart("Settle", false, func(o observe.Pool) { o.Settle(s) })
}

func (os *pools) RoundTrip(r observe.RoundTrip) {
	os.apart("RoundTrip", false, func(o observe.Pool) { o.RoundTrip(r) })
}

// Worker are the observers of a worker. It has the methods of observe.Worker, but for
// BeginCall and EndCall.
type Worker struct{ guarded[observe.Worker] }

// Call is a call as observers know it. It is not safe for concurrent use.
type Call struct {
	*observe.Call
	Context context.Context // of the last observer that began
	Began   time.Time       // when all had been told of its begin
	began   int             // so many observers were told of its begin, and not of its end
}

// StartWorker tells of the start of the worker.
func (os *Worker) StartWorker(s observe.WorkerState) {
	os.apart("StartWorker", false, func(o observe.Worker) { o.StartWorker(s) })
}

// StopWorker tells of the end of the worker.
func (os *Worker) StopWorker(s observe.WorkerState) {
	os.apart("StopWorker", true, func(o observe.Worker) { o.StopWorker(s) })
}

// Deliver tells of a delivery.
func (os *Worker) Deliver(d observe.Delivery) {
	os.apart("Deliver", false, func(o observe.Worker) { o.Deliver(d) })
}

// BeginChunk tells of the begin of a chunk, and returns the context of the last observer.
func (os *Worker) BeginChunk(ctx context.Context, c *observe.Chunk) context.Context {
	os.apart("BeginChunk", false, func(o observe.Worker) { ctx = within(o.BeginChunk(ctx, c), ctx) })
	return ctx
}

// EndChunk tells of the end of a chunk.
func (os *Worker) EndChunk(ctx context.Context, c *observe.Chunk, end observe.ChunkEnd) {
	os.apart("EndChunk", true, func(o observe.Worker) { o.EndChunk(ctx, c, end) })
}

// BeginCall tells of the begin of c. runtime.Goexit in an observer ends the goroutine
// of the caller: calling BeginCall again goes on with the next observer.
func (os *Worker) BeginCall(c *Call) {
	for c.began < len(os.all) {
		o := os.all[c.began]
		c.began++
		os.here("BeginCall", o, func(o observe.Worker) { c.Context = within(o.BeginCall(c.Context, c.Call), c.Context) })
	}
	c.Began = time.Now()
}

// EndCall tells those observers of the end of c that were told of its begin. It is to be
// called again as BeginCall is.
func (os *Worker) EndCall(c *Call, end observe.CallEnd) {
	for c.began > 0 {
		c.began--
		os.here("EndCall", os.all[c.began], func(o observe.Worker) { o.EndCall(c.Context, c.Call, end) })
	}
}

// RoundTrip tells of a round trip to Redis.
func (os *Worker) RoundTrip(r observe.RoundTrip) {
	os.apart("RoundTrip", false, func(o observe.Worker) { o.RoundTrip(r) })
}

// within is the context that an observer returned, or the one before if that is nil. It ends
// when the one before does: an observer that gives its context a time, or cancels it when it
// returns, must not end what it observes.
func within(ctx, before context.Context) context.Context {
	switch {
	case ctx == nil:
		return before
	case ctx.Done() == before.Done(): // as nearly always
		return ctx
	}
	return bounded{before, ctx}
}

// bounded is a context with the values of another.
type bounded struct {
	context.Context
	values context.Context
}

func (b bounded) Value(key any) any { return b.values.Value(key) }
