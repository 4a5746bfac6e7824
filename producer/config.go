package producer

import (
	"context"
	"fmt"
	"log/slog"
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
	DefaultQueue       = names.DefaultQueue
	DefaultResultTTL   = time.Hour
	DefaultJobTTL      = 7 * 24 * time.Hour
	DefaultMaxArgument = 16 << 20
)

// Config says how to open a Pool. The zero value works: it uses the Redis that
// the environment names.
type Config struct {
	// Redis names the Redis to use: redis://[user:password@]host:port[/db],
	// rediss:// for TLS, unix:// for a socket, several addresses for a Cluster,
	// ?master_name= for Sentinel, or just host:port. See docs/connections.md.
	// Defaults to the environment variable REDIS_URL, and without that to
	// redis://127.0.0.1:6379.
	Redis string

	// Client is used instead of Redis when it is set. It stays the caller's: the
	// pool does not close it.
	Client redis.UniversalClient

	// Queue is where jobs go unless the Queue option names another.
	// Defaults to DefaultQueue ("distpool"). A queue that asynq servers
	// serve must not be used, unless they have the handler of package asynqhandler.
	Queue string

	// ResultTTL is how long Redis keeps a job once it is over, for those who
	// attach to it later. Defaults to DefaultResultTTL (1 hour); Apply, Map and
	// Starmap, whose jobs nobody else can know, default to at most 10 minutes.
	// Rounded down to milliseconds; a shorter time than 10 s is taken for 10 s, since who
	// waits must be able to fetch the value.
	ResultTTL time.Duration

	// JobTTL is how long Redis keeps a job that is not over, counted from its
	// submission. It only bounds what abandoned jobs cost; a job that waits longer
	// than this for a worker is lost, and its handle says ErrExpired.
	// Defaults to DefaultJobTTL (7 days).
	JobTTL time.Duration

	// MaxArgument is the largest encoded argument of one call, in bytes. A larger
	// one is refused when it is submitted. Defaults to DefaultMaxArgument (16 MiB).
	MaxArgument int

	// Keyring signs jobs, so that workers with the same keys run nothing else, and
	// checks that outcomes are those of such workers: see package secure. Workers
	// must have it first. Defaults to none: nothing is signed or checked.
	Keyring secure.Keyring

	// OnRefused is called for each thing that this pool refuses because of its
	// signature, for a metric or an alarm. It must not block; several goroutines
	// call it. Defaults to nothing.
	OnRefused func(secure.Refusal)

	// Logger gets what no caller can be told: warnings about Redis, panics in
	// callbacks; and at level Debug each submission and how its job ended, and each
	// failure of go-redis to connect.
	// docs/observability.md lists the attributes. Defaults to slog.Default().
	Logger *slog.Logger

	// Observers are told what the pool does: see packages metrics and traces.
	// Defaults to none, which costs nothing.
	Observers []observe.Pool
}

func (c Config) withDefaults() Config {
	if c.Queue == "" {
		c.Queue = DefaultQueue
	}
	if c.JobTTL == 0 {
		c.JobTTL = DefaultJobTTL
	}
	if c.MaxArgument == 0 {
		c.MaxArgument = DefaultMaxArgument
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = guard.Logger(c.Logger)
	return c
}

func (c Config) validate() error {
	if err := names.CheckQueue(c.Queue); err != nil {
		return fmt.Errorf("producer.Config: field Queue: %w", err)
	}
	if c.ResultTTL != 0 && (c.ResultTTL < time.Millisecond || c.ResultTTL > bounds.Longest) {
		return fmt.Errorf("producer.Config: field ResultTTL is %v; use 1ms to 100 years, or 0 for %v", c.ResultTTL, DefaultResultTTL)
	}
	if c.JobTTL < time.Second || c.JobTTL > bounds.Longest {
		return fmt.Errorf("producer.Config: field JobTTL is %v; use 1s to 100 years, or 0 for %v", c.JobTTL, DefaultJobTTL)
	}
	if c.MaxArgument < 0 {
		return fmt.Errorf("producer.Config: field MaxArgument is %d; use a positive number of bytes, or 0 for %d", c.MaxArgument, DefaultMaxArgument)
	}
	if err := c.Keyring.Validate(); err != nil {
		return fmt.Errorf("producer.Config: field Keyring: %w", err)
	}
	return nil
}

// connect returns the client to use and whether it is the pool's to close.
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
