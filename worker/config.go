package worker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/secure"
)

// The defaults of Config.
const (
	DefaultQueue     = names.DefaultQueue
	DefaultGrace     = 30 * time.Second
	DefaultMaxResult = 16 << 20

	DefaultArchiveSize = 1000
	DefaultArchiveAge  = 7 * 24 * time.Hour
)

// asynq's own bounds of an archive (v0.26, internal/rdb).
const (
	mostArchived    = 10_000
	longestArchived = 90 * 24 * time.Hour
)

// Config says how a worker runs. The zero value works: it uses the Redis that
// the environment names, and one slot for each processor.
type Config struct {
	// Redis names the Redis to use, as producer.Config.Redis does.
	// Defaults to the environment variable REDIS_URL, and without that to
	// redis://127.0.0.1:6379.
	Redis string

	// Client is used instead of Redis when it is set. It stays the caller's: the
	// worker does not close it.
	Client redis.UniversalClient

	// Concurrency is the number of slots: so many calls run at the same time, and
	// never more; 65,536 at the most. A call that waits for nested jobs holds its slot: see package
	// producer. Defaults to runtime.NumCPU().
	Concurrency int

	// Queues names the queues to serve, with weights: a queue of weight 3 is asked
	// first three times as often as one of weight 1. A weight is 1 to 1000.
	// Defaults to DefaultQueue ("distpool") alone. Asynq servers must not
	// serve the same queues, unless with the handler of package asynqhandler.
	Queues map[string]int

	// StrictPriority makes a queue of a higher weight go first always: queues of
	// lower weight are served only while the others are empty. Defaults to false.
	StrictPriority bool

	// Init runs once, before the worker takes its first delivery. Values of the
	// context that it returns (made from the one that it is given) reach every call
	// through the call's context: open there what all calls share. When it fails,
	// Run returns its error and has taken no delivery; when Run's context has ended
	// by then, the error is only logged. Defaults to nothing.
	Init func(ctx context.Context) (context.Context, error)

	// Shutdown runs once, at the end, after the last call, to close what Init has
	// opened: its context has Init's values and lasts for Grace. Its error is joined
	// to Run's. It does not run when Init has failed. Defaults to nothing.
	Shutdown func(ctx context.Context) error

	// MaxCalls makes the worker drain and Run return nil after so many calls, for a
	// service manager to start it afresh: what Python's maxtasksperchild is for.
	// Calls that run at that moment still finish, so it may be a few more.
	// Defaults to 0, no limit.
	MaxCalls int

	// Grace is how long running calls may go on once Run's context has ended. Then
	// their contexts are canceled and their chunks are given back, to be run again
	// by another worker. Defaults to DefaultGrace (30 s).
	Grace time.Duration

	// MaxResult is the largest encoded value of one call, in bytes. A call that
	// returns a larger one fails. Defaults to DefaultMaxResult (16 MiB).
	MaxResult int

	// ArchiveSize and ArchiveAge bound the deliveries with failed calls that stay in
	// asynq's archive of each queue, for people to look at: so many, for so long. The
	// worker that leads the supervision removes what is beyond, each 8 s or so, of all
	// queues: so all workers should have the same bounds. asynq itself keeps 10,000 for 90
	// days, which are the largest values. They default to DefaultArchiveSize (1,000) and
	// DefaultArchiveAge (7 days).
	ArchiveSize int
	ArchiveAge  time.Duration

	// Keyring has the worker run only what producers with one of its keys have
	// signed, and sign what it records: see package secure. What it refuses ends its
	// job with results.ErrUntrusted. Defaults to none: nothing is signed or checked.
	Keyring secure.Keyring

	// OnRefused is called for each thing that this worker refuses because of its
	// signature, for a metric or an alarm. It must not block; several goroutines
	// call it. Defaults to nothing.
	OnRefused func(secure.Refusal)

	// Name becomes part of the worker's ID, for people to recognise it: up to 100
	// bytes of printable characters without blanks. Defaults to the host's name.
	Name string

	// Logger gets what the worker has to say: its start and end (Info), trouble
	// (Warn, Error), and each delivery, chunk, call and failure of go-redis to connect
	// (Debug). Calls have it as tasks.Logger. docs/observability.md lists the
	// attributes. Defaults to slog.Default().
	Logger *slog.Logger

	// Observers are told what the worker does: see packages metrics and traces.
	// Defaults to none, which costs nothing.
	Observers []observe.Worker
}

func (c Config) withDefaults() Config {
	c.Concurrency = cmp.Or(c.Concurrency, runtime.NumCPU())
	if len(c.Queues) == 0 {
		c.Queues = map[string]int{DefaultQueue: 1}
	}
	c.Grace = cmp.Or(c.Grace, DefaultGrace)
	c.MaxResult = cmp.Or(c.MaxResult, DefaultMaxResult)
	c.ArchiveSize = cmp.Or(c.ArchiveSize, DefaultArchiveSize)
	c.ArchiveAge = cmp.Or(c.ArchiveAge, DefaultArchiveAge)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.Logger = guard.Logger(c.Logger)
	return c
}

func (c Config) validate() error {
	if c.Concurrency < 0 || c.Concurrency > bounds.Slots {
		return fmt.Errorf("worker.Config: field Concurrency is %d; use 1 to %d slots, or 0 for one per processor", c.Concurrency, bounds.Slots)
	}
	for q, weight := range c.Queues {
		if err := names.CheckQueue(q); err != nil {
			return fmt.Errorf("worker.Config: field Queues: %w", err)
		}
		if err := bounds.CheckWeight(q, weight); err != nil {
			return fmt.Errorf("worker.Config: field Queues: %w", err)
		}
	}
	if err := names.CheckWorker(c.Name); err != nil {
		return fmt.Errorf("worker.Config: field Name: %w", err)
	}
	if c.MaxCalls < 0 {
		return fmt.Errorf("worker.Config: field MaxCalls is %d; use a positive number of calls, or 0 for no limit", c.MaxCalls)
	}
	if c.Grace < 0 || c.Grace > bounds.Longest {
		return fmt.Errorf("worker.Config: field Grace is %v; use up to 100 years, or 0 for %v", c.Grace, DefaultGrace)
	}
	if c.MaxResult < 0 {
		return fmt.Errorf("worker.Config: field MaxResult is %d; use a positive number of bytes, or 0 for %d", c.MaxResult, DefaultMaxResult)
	}
	if c.ArchiveSize < 0 || c.ArchiveSize > mostArchived {
		return fmt.Errorf("worker.Config: field ArchiveSize is %d; use 1 to %d deliveries, or 0 for %d", c.ArchiveSize, mostArchived, DefaultArchiveSize)
	}
	if c.ArchiveAge < 0 || c.ArchiveAge > longestArchived {
		return fmt.Errorf("worker.Config: field ArchiveAge is %v; use a positive duration up to %v, or 0 for %v", c.ArchiveAge, longestArchived, DefaultArchiveAge)
	}
	if err := c.Keyring.Validate(); err != nil {
		return fmt.Errorf("worker.Config: field Keyring: %w", err)
	}
	return nil
}

// connect returns the client to use and whether it is the worker's to close.
func (c Config) connect(ctx context.Context) (client redis.UniversalClient, ours bool, err error) {
	if c.Client != nil {
		return c.Client, false, redisconn.Check(ctx, c.Client)
	}
	target, err := redisconn.Parse(c.Redis)
	if err != nil {
		return nil, true, err
	}
	target.LogTo(c.Logger)
	client, err = target.Open(ctx)
	return client, true, err
}
