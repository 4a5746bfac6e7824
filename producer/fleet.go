package producer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// fleet knows the live workers. What it knows is a second old at most when it is
// asked for slots.
type fleet struct {
	rdb redis.UniversalClient

	reading sync.Mutex // held while the registry is read, so that one reads for all
	known   atomic.Pointer[census]

	mu      sync.Mutex // guards all below
	looking bool       // somebody reads in the background
	stopped bool
	look    sync.WaitGroup // that reading
}

// census is the live workers at a time.
type census struct {
	workers []record.Worker
	at      time.Time
}

const fleetMaxAge = time.Second

func (c *census) old() bool { return c == nil || time.Since(c.at) > fleetMaxAge }

// slots returns the number of calls that the live workers of the queue run at
// the same time; 0 when none is known.
func (f *fleet) slots(ctx context.Context, queue string) (int, error) {
	known, err := f.read(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, w := range known.workers {
		if w.Serves(queue) {
			n += w.Concurrency
		}
	}
	return n, nil
}

// readsBig reports whether all live workers of the queue read arguments that are kept
// apart from the record, and such in the raw form; true when there are none.
func (f *fleet) readsBig(ctx context.Context, queue string) bool {
	known, err := f.read(ctx)
	return err == nil && !slices.ContainsFunc(known.workers, func(w record.Worker) bool { return w.Serves(queue) && !w.Big })
}

func (f *fleet) read(ctx context.Context) (*census, error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	if known := f.known.Load(); !known.old() {
		return known, nil
	}
	ws, err := record.Workers(ctx, f.rdb)
	if err != nil {
		return nil, err
	}
	known := &census{ws, time.Now()}
	f.known.Store(known)
	return known, nil
}

// unserved reports whether the queue had no live worker when the registry was
// last read. It does not wait: when that is too long ago the registry is read in
// the background, for those who ask again.
func (f *fleet) unserved(queue string) bool {
	known := f.known.Load()
	if known.old() {
		f.lookAgain()
	}
	return known != nil && !slices.ContainsFunc(known.workers, func(w record.Worker) bool { return w.Serves(queue) })
}

func (f *fleet) lookAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looking || f.stopped {
		return
	}
	f.looking = true
	f.look.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), fleetMaxAge)
		defer cancel()
		_, _ = f.read(ctx) // when that fails, what is known stays
		f.mu.Lock()
		defer f.mu.Unlock()
		f.looking = false
	})
}

// stop waits for the reading in the background, a second at the most.
func (f *fleet) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.look.Wait()
}
