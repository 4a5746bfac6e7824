package fleet

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// View is what a pool knows of the live workers. Unless a method says otherwise, that is a second
// old at most. It is safe for concurrent use.
type View struct {
	rdb redis.UniversalClient

	known   atomic.Pointer[census]
	reading chan struct{} // has one while the registry is read, so that one reads for all
	stopped atomic.Bool   // nothing is read in the background any more
}

// census is the live workers at a time.
type census struct {
	workers []Worker
	at      time.Time
}

const maxAge = time.Second

// NewView makes a View.
func NewView(rdb redis.UniversalClient) *View {
	return &View{rdb: rdb, reading: make(chan struct{}, 1)}
}

func serves(ws []Worker, queue string) bool {
	return slices.ContainsFunc(ws, func(w Worker) bool { return w.Serves(queue) })
}

// Slots returns the number of calls that the live workers of the queue run at
// the same time; 0 when none is known.
func (v *View) Slots(ctx context.Context, queue string) (int, error) {
	ws, err := v.Workers(ctx)
	n := 0
	for _, w := range ws {
		if w.Serves(queue) {
			n += w.Concurrency
		}
	}
	return n, err
}

// Serves reports whether a live worker serves the queue.
func (v *View) Serves(ctx context.Context, queue string) (bool, error) {
	ws, err := v.Workers(ctx)
	return serves(ws, queue), err
}

// Workers returns the live workers.
func (v *View) Workers(ctx context.Context) ([]Worker, error) {
	return v.since(ctx, time.Now().Add(-maxAge))
}

// WorkersNow is Workers, read after it was called.
func (v *View) WorkersNow(ctx context.Context) ([]Worker, error) { return v.since(ctx, time.Now()) }

// since returns the live workers as they were after some time.
func (v *View) since(ctx context.Context, after time.Time) ([]Worker, error) {
	select {
	case v.reading <- struct{}{}:
		defer v.unlock()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return v.read(ctx, after)
}

func (v *View) unlock() { <-v.reading }

// read reads the registry, unless that was done after some time. The caller has reading.
func (v *View) read(ctx context.Context, after time.Time) ([]Worker, error) {
	if known := v.known.Load(); known != nil && known.at.After(after) {
		return known.workers, nil
	}
	began := time.Now()
	ws, err := Workers(ctx, v.rdb)
	if err == nil {
		v.known.Store(&census{ws, began})
	}
	return ws, err
}

// Unserved reports whether the queue had no live worker when the registry was
// last read. It does not wait: when that is too long ago the registry is read in
// the background, for later calls.
func (v *View) Unserved(queue string) bool {
	known := v.known.Load()
	if known == nil || time.Since(known.at) > maxAge {
		v.lookAgain()
	}
	return known != nil && !serves(known.workers, queue)
}

func (v *View) lookAgain() {
	select {
	case v.reading <- struct{}{}:
	default:
		return
	}
	if v.stopped.Load() {
		v.unlock()
		return
	}
	go func() {
		defer v.unlock()
		ctx, cancel := context.WithTimeout(context.Background(), maxAge)
		defer cancel()
		_, _ = v.read(ctx, time.Now().Add(-maxAge)) // when that fails, what is known stays
	}()
}

// Stop waits for the reading in the background, a second at the most.
func (v *View) Stop() {
	v.stopped.Store(true)
	select {
	case v.reading <- struct{}{}:
		v.unlock()
	case <-time.After(maxAge): // a caller of Workers reads, for as long as its context allows
	}
}
