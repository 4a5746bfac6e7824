// Package submit takes a pool's jobs to Redis. A job of known calls is cut into chunks
// (cut.go), described, protected (protect.go) and sent (send.go); submit.go does that for a
// drawn name, identity.go for a chosen one; package stream for calls that come one by one.
// Beside that a pool sweeps up what its jobs leave (sweep.go), and revives those that make no
// progress.
package submit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inline"
	"github.com/distpool/distpool/internal/recent"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
)

// Config is what a Pool works with; the fields are those of producer.Config, checked.
type Config struct {
	Redis       redis.UniversalClient
	Ours        bool   // Redis is closed with the pool
	Queue       string // the pool hears of its jobs in this one from the start
	JobTTL      time.Duration
	MaxArgument int
	Keyring     secure.Keyring
	OnRefused   func(secure.Refusal)
	Logger      *slog.Logger
	Observer    observe.Pool // nil: none
}

// Pool is what is behind a producer.Pool, and outlives it while jobs are outstanding.
type Pool struct {
	Config
	Hub *await.Hub
	*jobs
	fleet   *fleet.View
	said    map[string]time.Time // see sayUnserved
	sweeper sweeper
	signer  *signing.Signer // nil: signing is off
	listing *recent.Writer
	inline  *inline.Hook // package pooltest's; nil in any other pool
	watcher watcher

	mu         sync.Mutex // guards closed against submissions that are on their way
	closed     bool
	submitting sync.WaitGroup // also what removes a submission that failed
	released   atomic.Bool
	using      sync.RWMutex // held for reading by what asks Redis while others may release the pool
}

// Open opens a Pool.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	rdb := cfg.Redis
	p := &Pool{
		Config: cfg, jobs: newJobs(rdb), fleet: fleet.NewView(rdb), said: map[string]time.Time{}, sweeper: sweeper{rdb: rdb, log: cfg.Logger},
		signer: signing.New(cfg.Keyring), listing: recent.NewWriter(rdb), inline: inline.From(ctx), watcher: newWatcher(cfg.Observer, cfg.Logger),
	}
	lanes, err := p.router.Lanes(ctx, cfg.Queue)
	if err != nil {
		return nil, err
	}
	hub := await.Config{
		Redis: rdb, Router: p.router, Log: cfg.Logger, Lanes: lanes,
		Pool:  rand.Text()[:16], // in each of its jobs, so it is as short as it can be and still no other's
		Sweep: p.sweeper.sweep, Swept: p.sweeper.wait, Revive: p.revive, Unserved: p.fleet.Unserved,
	}
	if p.watcher.on {
		hub.Settled = p.watcher.settled
	}
	if p.Hub, err = await.Start(ctx, hub); err != nil {
		return nil, err
	}
	p.watcher.start(p.Hub)
	return p, nil
}

// Slots is how many calls the live workers of the queue run at the same time; while there are
// none, as many as this machine has processors.
func (p *Pool) Slots(ctx context.Context, queue string) (int, error) {
	n, err := p.fleet.Slots(ctx, queue)
	if n == 0 {
		n = runtime.NumCPU()
	}
	return n, err
}

// Enter starts a submission, which left ends, or refuses it when the pool is closed.
func (p *Pool) Enter() (left func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("producer: submission refused: %w", results.ErrClosed)
	}
	p.submitting.Add(1)
	return p.submitting.Done, nil
}

// ended makes ErrClosed of what a request fails with when the pool is released under it.
func ended(err error) error {
	if errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("%w: it was released meanwhile", results.ErrClosed)
	}
	return err
}

// Close ends submissions.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// Closed reports whether the pool was closed.
func (p *Pool) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Join waits for what was submitted, and releases the pool.
func (p *Pool) Join(ctx context.Context) error {
	if err := p.settleSubmissions(ctx); err != nil {
		return fmt.Errorf("a submission is under way: %w", err)
	}
	if err := p.Hub.Drain(ctx); err != nil {
		return fmt.Errorf("%d jobs are not over: %w", p.Hub.Outstanding(), err)
	}
	_ = p.sweeper.wait(ctx)
	p.Release()
	return nil
}

// Terminate cancels what is not over, and releases the pool in any case. The error is the
// first one.
func (p *Pool) Terminate(ctx context.Context) error {
	p.Close()
	err := p.settleSubmissions(ctx)
	if cerr := p.cancelAll(ctx); err == nil {
		err = cerr
	}
	if !p.Hub.InCallback() {
		if derr := p.Hub.Drain(ctx); err == nil {
			err = derr
		}
	}
	_ = p.sweeper.wait(ctx)
	p.Release()
	return err
}

// cancelAll cancels every job that is outstanding. Of a pool that has been released none is.
func (p *Pool) cancelAll(ctx context.Context) error {
	p.using.RLock()
	defer p.using.RUnlock()
	if p.released.Load() {
		return nil
	}
	return p.Hub.CancelAll(ctx)
}

// Dropped does for a pool that a program has dropped what the program cannot do any more.
func (p *Pool) Dropped() {
	if !p.released.Load() {
		_ = p.Join(context.Background()) // it fails only when its context ends
	}
}

// Release lets go of what the pool holds. Jobs go on.
func (p *Pool) Release() {
	p.Close()
	if p.released.Swap(true) {
		return
	}
	p.sweeper.stop()
	p.jobs.stop()
	p.listing.Stop()
	p.Hub.Stop(results.ErrClosed)
	p.watcher.stop()
	p.fleet.Stop()
	if p.Ours {
		p.using.Lock()
		defer p.using.Unlock()
		_ = p.Redis.Close()
	}
}

// settleSubmissions waits for the submissions that were under way when the pool
// was closed.
func (p *Pool) settleSubmissions(ctx context.Context) error {
	settled := make(chan struct{})
	go func() {
		p.submitting.Wait()
		close(settled)
	}()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
