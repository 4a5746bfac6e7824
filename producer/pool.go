package producer

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/submit"
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
	cfg  Config
	pool *submit.Pool // all that goroutines and handles refer to: never the Pool itself
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
	pool, err := submit.Open(ctx, submit.Config{
		Redis: rdb, Ours: ours, Queue: cfg.Queue, JobTTL: cfg.JobTTL, MaxArgument: cfg.MaxArgument,
		Keyring: cfg.Keyring, OnRefused: cfg.OnRefused, Logger: cfg.Logger, Observer: observer,
	})
	if err != nil {
		if ours {
			_ = rdb.Close()
		}
		return nil, fmt.Errorf("opening a pool: %w", err)
	}
	p := &Pool{cfg, pool}
	runtime.AddCleanup(p, func(pool *submit.Pool) { go func() { _ = pool.Join(context.Background()) }() }, pool)
	return p, nil
}

// Close ends submissions: later ones return ErrClosed. Jobs that were submitted
// go on, and their handles work until Join or Terminate. Closing twice is fine.
func (p *Pool) Close() { p.pool.Close() }

// Join waits until every job that was submitted or attached to is over and every
// callback has run, and then releases what the pool holds (connections,
// goroutines). It must come after Close, and returns an error at once if it does
// not. In a callback it would wait for itself: it returns an error at once. When ctx
// ends first, Join returns its cause and may be called again.
func (p *Pool) Join(ctx context.Context) error {
	if !p.pool.Closed() {
		return errors.New("producer: Join on a pool that is not closed would wait for ever: call Close first")
	}
	if p.pool.Hub.InCallback() {
		return errors.New("producer: Join in a callback would wait for that callback: call it in a goroutine of its own, or elsewhere")
	}
	if err := p.pool.Join(ctx); err != nil {
		return fmt.Errorf("joining the pool: %w", err)
	}
	return nil
}

// Release closes the pool and lets go of what it holds, without a word to the
// jobs: they go on, and anybody can attach to them by ID. Handles of this pool
// that are not ready become so, with ErrClosed, and a submission that is under
// way fails. Join and Terminate after it return at once.
func (p *Pool) Release() { p.pool.Release() }

// Terminate closes the pool, cancels every job that is not over, and releases
// what the pool holds. Handles become ready with ErrCanceled; calls that run get
// a canceled context. It waits for callbacks, unless it is called in one, and until what
// waits in the queues to run these jobs has been removed; until ctx ends. The error is the
// first one met while Redis was told, or ctx's cause; what the pool holds is
// released all the same. Several goroutines may call it, also beside Close, Join
// and Release.
func (p *Pool) Terminate(ctx context.Context) error {
	if err := p.pool.Terminate(ctx); err != nil {
		return fmt.Errorf("terminating the pool: %w", err)
	}
	return nil
}

// address completes what a caller names a job by.
func (p *Pool) address(id string) (string, error) {
	a, err := names.ParseAddress(id, p.cfg.Queue)
	if err != nil {
		return "", fmt.Errorf("%w: %w", results.ErrUnknownJob, err)
	}
	return a.String(), nil
}
