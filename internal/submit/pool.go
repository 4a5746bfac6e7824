// Package submit takes a pool's jobs to Redis. A job of known calls (submit.go) is cut into chunks
// (cut.go), described and sent (send.go), and protected (protect.go); identity.go does what a chosen
// name needs beside that. Package stream sends calls that come one by one.
// What Redis is told goes in batches (redis.go). Beside that a pool sweeps up what its jobs leave
// (sweep.go), and revives those that make no progress (revive.go).
package submit

import (
	"cmp"
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
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/queue"
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
	Hub     *await.Hub
	router  *lanes.Router
	entries queue.Batch[job.Submission, job.State]
	spent   queue.Batch[*await.Job, removed]
	sweeper *sweeper
	fleet   *fleet.View
	said    map[string]time.Time // see sayUnserved
	signer  *signing.Signer      // nil: signing is off
	listing *recent.Writer
	inline  *inline.Hook // package pooltest's; nil in any other pool
	watched bool         // by observers, or by the debug log

	mu         sync.Mutex           // guards closed, against submissions that are on their way, and named
	named      map[string]time.Time // queues: when asynq was told of them last
	closed     bool
	submitting sync.WaitGroup // also what removes a submission that failed
	released   atomic.Bool
	using      sync.RWMutex // held for reading by what asks Redis while others may release the pool
}

// Open opens a Pool.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	rdb := cfg.Redis
	p := &Pool{
		Config: cfg, router: lanes.NewRouter(rdb), sweeper: newSweeper(rdb, cfg.Logger), fleet: fleet.NewView(rdb), said: map[string]time.Time{},
		signer: signing.New(cfg.Keyring), listing: recent.NewWriter(rdb), inline: inline.From(ctx), named: map[string]time.Time{},
	}
	p.batch()
	own, err := p.router.Lanes(ctx, cfg.Queue)
	if err != nil {
		return nil, err
	}
	hub := await.Config{
		Redis: rdb, Router: p.router, Log: cfg.Logger, Lanes: own,
		Pool:  rand.Text()[:16], // in each of its jobs, so it is as short as it can be and still no other's
		Sweep: p.sweeper.sweep, Swept: p.sweeper.wait, Revive: p.revive, Unserved: p.fleet.Unserved,
	}
	if p.watched = cfg.Observer != nil || cfg.Logger.Enabled(ctx, slog.LevelDebug); p.watched {
		hub.Settled = p.settled
	}
	if p.Observer == nil {
		p.Observer = observe.NopPool{}
	}
	if p.Hub, err = await.Start(ctx, hub); err != nil {
		return nil, err
	}
	// Observers know the pool by its hub alone: they may keep that, and a pool that is dropped is
	// found by the garbage collector all the same.
	p.Observer.OpenPool(p.Hub)
	return p, nil
}

// Slots is how many calls the live workers of a queue run at the same time; while there are
// none, as many as this machine has processors.
func (p *Pool) Slots(ctx context.Context, of string) (int, error) {
	n, err := p.fleet.Slots(ctx, of)
	return cmp.Or(n, runtime.NumCPU()), err
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
	defer p.mu.Unlock()
	p.closed = true
}

// Closed reports whether the pool was closed.
func (p *Pool) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Join waits for what was submitted, and releases the pool. It fails only when ctx ends.
func (p *Pool) Join(ctx context.Context) error {
	if err := until(ctx, p.submitting.Wait); err != nil {
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
	err := until(ctx, p.submitting.Wait)
	err = cmp.Or(err, p.cancelAll(ctx))
	if !p.Hub.InCallback() {
		derr := p.Hub.Drain(ctx)
		err = cmp.Or(err, derr)
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

// Release lets go of what the pool holds. Jobs go on.
func (p *Pool) Release() {
	p.Close()
	if p.released.Swap(true) {
		return
	}
	p.sweeper.stop()
	p.stopRemoving()
	p.listing.Stop()
	p.Hub.Stop(results.ErrClosed)
	p.Observer.ClosePool(p.Hub)
	p.fleet.Stop()
	if p.Ours {
		p.using.Lock()
		defer p.using.Unlock()
		_ = p.Redis.Close()
	}
}

// until waits until f returns; when ctx ends first, it returns the cause.
func until(ctx context.Context, f func()) error {
	returned := make(chan struct{})
	go func() {
		f()
		close(returned)
	}()
	return await.Until(ctx, returned)
}
