package worker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
)

// The defaults of Config.
const (
	DefaultQueue     = names.DefaultQueue
	DefaultGrace     = 30 * time.Second
	DefaultMaxResult = 16 << 20
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
	// never more. Defaults to runtime.NumCPU().
	Concurrency int

	// Queues names the queues to serve, with weights: a queue of weight 3 is asked
	// first three times as often as one of weight 1.
	// Defaults to DefaultQueue ("distpool") alone. Plain asynq servers must not
	// serve the same queues.
	Queues map[string]int

	// Grace is how long running calls may go on once Run's context has ended. Then
	// their contexts are canceled and their chunks are given back, to be run again
	// by another worker. Defaults to DefaultGrace (30 s).
	Grace time.Duration

	// MaxResult is the largest encoded value of one call, in bytes. A call that
	// returns a larger one fails. Defaults to DefaultMaxResult (16 MiB).
	MaxResult int

	// Name becomes part of the worker's ID, for people to recognise it.
	// Defaults to the host's name.
	Name string

	// Logger gets warnings and errors. Defaults to slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Concurrency == 0 {
		c.Concurrency = runtime.NumCPU()
	}
	if len(c.Queues) == 0 {
		c.Queues = map[string]int{DefaultQueue: 1}
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.MaxResult == 0 {
		c.MaxResult = DefaultMaxResult
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c Config) validate() error {
	if c.Concurrency < 0 {
		return fmt.Errorf("worker.Config: field Concurrency is %d; use a positive number of slots, or 0 for one per processor", c.Concurrency)
	}
	for q, weight := range c.Queues {
		if err := names.CheckQueue(q); err != nil {
			return fmt.Errorf("worker.Config: field Queues: %w", err)
		}
		if weight < 1 {
			return fmt.Errorf("worker.Config: field Queues: the weight of %q is %d; use 1 or more, or leave the queue out", q, weight)
		}
	}
	if c.Grace < 0 {
		return fmt.Errorf("worker.Config: field Grace is %v; use a positive duration, or 0 for %v", c.Grace, DefaultGrace)
	}
	if c.MaxResult < 0 {
		return fmt.Errorf("worker.Config: field MaxResult is %d; use a positive number of bytes, or 0 for %d", c.MaxResult, DefaultMaxResult)
	}
	return nil
}

// connect returns the client to use and whether it is the worker's to close.
func (c Config) connect(ctx context.Context) (client redis.UniversalClient, ours bool, err error) {
	if c.Client != nil {
		return c.Client, false, redisconn.Check(ctx, c.Client)
	}
	client, err = redisconn.Open(ctx, c.Redis)
	return client, true, err
}
