package producer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inline"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/supervise"
	"github.com/distpool/distpool/results"
)

// ErrClosed says that the pool was closed before the submission.
var ErrClosed = results.ErrClosed

// ErrIDTaken says that the ID given to a submission belongs to another job.
var ErrIDTaken = results.ErrIDTaken

// Pool is the producer's open handle on the distributed pool: it submits jobs
// and waits for their results. It is safe for concurrent use; a program needs
// one per Redis. Its life is Python's: submit, Close, Join, or Terminate.
//
// A pool that is dropped without being closed is joined in the background once
// the garbage collector finds it: jobs that were submitted go on, the handles on
// them work, and when the last one is over, connections and goroutines go (and
// with them what handles need to Forget a job). Close
// and Join, Terminate or Release say when, so use one of them.
type Pool struct {
	*pool // all that goroutines and handles refer to: never the Pool itself
}

// pool is what is behind a Pool, and outlives it while jobs are outstanding.
type pool struct {
	cfg  Config
	ours bool // rdb is ours to close
	hub  *await.Hub
	*jobs
	fleet   *fleet.View
	absence absence
	starter starter
	sweeper sweeper
	signer  *signing.Signer // nil: signing is off
	listing *listing
	inline  *inline.Hook // package pooltest's; nil in any other pool
	watcher watcher

	mu         sync.Mutex // guards closed against submissions that are on their way
	closed     bool
	submitting sync.WaitGroup // also what removes a submission that failed
	released   atomic.Bool
	using      sync.RWMutex // held for reading by what asks Redis while others may release the pool
}

// Open connects to Redis and returns a Pool. ctx bounds the opening only. The
// errors of a Redis that does not answer, refuses the password or is older than
// 6.2 say so and what to do, within 5 seconds when ctx has no earlier deadline.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	observer, err := observers.Pools(cfg.Observers, cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("producer.Config: %w", err)
	}
	rdb, ours, err := cfg.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a pool: %w", err)
	}
	if ours && observer != nil {
		rdb.AddHook(observers.Hook(observer.RoundTrip))
	}
	p := &pool{cfg: cfg, jobs: newJobs(rdb), ours: ours, fleet: fleet.NewView(rdb), signer: signing.New(cfg.Keyring), listing: newListing(rdb), inline: inline.From(ctx), watcher: newWatcher(observer, cfg.Logger)}
	p.starter.rdb = rdb
	p.sweeper.rdb, p.sweeper.log = rdb, cfg.Logger
	lanes, err := p.router.Lanes(ctx, cfg.Queue)
	if err != nil {
		return nil, p.abandon(fmt.Errorf("opening a pool: %w", err))
	}
	hub := await.Config{
		Redis: rdb, Router: p.router, Log: cfg.Logger, Lanes: lanes,
		Pool:  rand.Text()[:16], // in each of its jobs, so it is as short as it can be and still no other's
		Sweep: p.sweeper.sweep, Swept: p.sweeper.wait, Revive: p.revive, Unserved: p.fleet.Unserved,
	}
	if p.watcher.on {
		hub.Settled = p.watcher.settled
	}
	if p.hub, err = await.Start(ctx, hub); err != nil {
		return nil, p.abandon(fmt.Errorf("opening a pool: %w", err))
	}
	p.watcher.start(p.hub)
	outer := &Pool{p}
	runtime.AddCleanup(outer, func(p *pool) { go p.dropped() }, p)
	return outer, nil
}

// revive issues again what was lost of a job that makes no progress, and ends the job if
// its record cannot lead to an end any more.
func (p *pool) revive(ctx context.Context, j *await.Job) {
	p.absence.look(ctx, p, j)
	known, n := j.Counts(), 0
	state, err := job.Check(ctx, p.rdb, j.Lane, j.Ref, known.Chunks, known.State == job.Sealed)
	if err == nil && !state.Ended() {
		n, err = supervise.Revive(ctx, p.rdb, fleet.Owners{Redis: p.rdb}, j.Lane, j.Ref, known.Chunks)
	}
	if err != nil {
		p.cfg.Logger.Warn("looking for lost deliveries failed; will try again", "job", j.ID, "task", j.Task, "error", err)
	}
	if n > 0 {
		p.cfg.Logger.Warn("deliveries were lost, deleted or archived; they are issued again", "job", j.ID, "task", j.Task, "deliveries", n)
	}
}

// dropped does for a pool that nobody has any more what nobody can do. A
// submission that had begun by then is one of those that are waited for, since
// entering it keeps the Pool.
func (p *pool) dropped() {
	if p.released.Load() {
		return
	}
	ctx := context.Background()
	_ = p.settleSubmissions(ctx) // these two fail only when ctx ends
	_ = p.hub.Drain(ctx)
	p.release()
}

func (p *pool) abandon(err error) error {
	if p.ours {
		_ = p.rdb.Close()
	}
	return err
}

// Close ends submissions: later ones return ErrClosed. Jobs that were submitted
// go on, and their handles work until Join or Terminate. Closing twice is fine.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// Join waits until every job that was submitted or attached to is over and every
// callback has run, and then releases what the pool holds (connections,
// goroutines). It must come after Close, and returns an error at once if it does
// not. In a callback it would wait for itself: it returns an error at once. When ctx
// ends first, Join returns its cause and may be called again.
func (p *Pool) Join(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if !closed {
		return errors.New("producer: Join on a pool that is not closed would wait for ever: call Close first")
	}
	if p.hub.InCallback() {
		return errors.New("producer: Join in a callback would wait for that callback: call it in a goroutine of its own, or elsewhere")
	}
	if err := p.settleSubmissions(ctx); err != nil {
		return fmt.Errorf("joining the pool: a submission is under way: %w", err)
	}
	if err := p.hub.Drain(ctx); err != nil {
		return fmt.Errorf("joining the pool: %d jobs are not over: %w", p.hub.Outstanding(), err)
	}
	_ = p.sweeper.wait(ctx)
	p.release()
	return nil
}

// Release closes the pool and lets go of what it holds, without a word to the
// jobs: they go on, and anybody can attach to them by ID. Handles of this pool
// that are not ready become so, with ErrClosed, and a submission that is under
// way fails. Join and Terminate after it return at once.
func (p *Pool) Release() {
	p.Close()
	p.release()
}

// Terminate closes the pool, cancels every job that is not over, and releases
// what the pool holds. Handles become ready with ErrCanceled; calls that run get
// a canceled context. It waits for callbacks, unless it is called in one, and until what
// waits in the queues to run these jobs has been removed; until ctx ends. The error is the
// first one met while Redis was told, or ctx's cause; what the pool holds is
// released all the same. Several goroutines may call it, also beside Close, Join
// and Release.
func (p *Pool) Terminate(ctx context.Context) error {
	p.Close()
	err := p.settleSubmissions(ctx)
	if cerr := p.cancelAll(ctx); err == nil {
		err = cerr
	}
	if !p.hub.InCallback() {
		if derr := p.hub.Drain(ctx); err == nil {
			err = derr
		}
	}
	_ = p.sweeper.wait(ctx)
	p.release()
	if err != nil {
		return fmt.Errorf("terminating the pool: %w", err)
	}
	return nil
}

// cancelAll cancels every job that is outstanding. Of a pool that has been released none is.
func (p *pool) cancelAll(ctx context.Context) error {
	p.using.RLock()
	defer p.using.RUnlock()
	if p.released.Load() {
		return nil
	}
	return p.hub.CancelAll(ctx)
}

func (p *pool) release() {
	if p.released.Swap(true) {
		return
	}
	p.starter.stop()
	p.sweeper.stop()
	p.jobs.stop()
	p.listing.stop()
	p.hub.Stop(ErrClosed)
	p.watcher.stop()
	p.fleet.Stop()
	if p.ours {
		p.using.Lock()
		defer p.using.Unlock()
		_ = p.rdb.Close()
	}
}

// ended makes ErrClosed of what a request fails with when the pool is released under it.
func ended(err error) error {
	if errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("%w: it was released meanwhile", ErrClosed)
	}
	return err
}

// enter starts a submission, or refuses it when the pool is closed.
func (p *Pool) enter() error {
	// Once it is in, the submission is waited for, even if the Pool is dropped.
	defer runtime.KeepAlive(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("producer: submission refused: %w", ErrClosed)
	}
	p.submitting.Add(1)
	return nil
}

// settleSubmissions waits for the submissions that were under way when the pool
// was closed.
func (p *pool) settleSubmissions(ctx context.Context) error {
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
