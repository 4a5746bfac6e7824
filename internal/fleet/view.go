package fleet

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// View is what a pool knows of the live workers. Unless a method says otherwise, that is a second
// old at most. It is safe for concurrent use.
type View struct {
	rdb redis.UniversalClient

	reading chan struct{} // has one while the registry is read, so that one reads for all
	known   atomic.Pointer[census]

	mu      sync.Mutex // guards all below
	looking bool       // a goroutine reads in the background
	stopped bool
	look    sync.WaitGroup // that reading
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
		defer func() { <-v.reading }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
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
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.looking || v.stopped {
		return
	}
	v.looking = true
	v.look.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), maxAge)
		defer cancel()
		_, _ = v.Workers(ctx) // when that fails, what is known stays
		v.mu.Lock()
		defer v.mu.Unlock()
		v.looking = false
	})
}

// Stop waits for the reading in the background, a second at the most.
func (v *View) Stop() {
	v.mu.Lock()
	v.stopped = true
	v.mu.Unlock()
	v.look.Wait()
}
