package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

// growth measures what grows with time, with workers, with what waits, and with chunks: bench
// growth. Each part has a Redis of its own.
type growth struct {
	last    time.Duration // of the blocking calls
	g       int           // callers
	conc    int           // slots of a worker
	workers int           // idle
	watch   time.Duration // of the idle workers
	waiting int           // single calls
	chunks  int           // of one call each, of a job

	s   settings
	rdb redis.UniversalClient
	out *json.Encoder
	log io.Writer
}

func growthCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	m := &growth{out: json.NewEncoder(stdout), log: stderr}
	fs := flag.NewFlagSet("bench growth", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.DurationVar(&m.last, "for", 10*time.Minute, "calls: how long they go on")
	fs.IntVar(&m.g, "g", 256, "calls: `goroutines` that make blocking calls")
	fs.IntVar(&m.conc, "conc", 64, "calls: `slots` of the worker")
	fs.IntVar(&m.workers, "workers", 1000, "idle: `workers`")
	fs.DurationVar(&m.watch, "watch", 20*time.Second, "idle: how long they are watched")
	fs.IntVar(&m.waiting, "waiting", 1_000_000, "waiting: `calls` that wait")
	fs.IntVar(&m.chunks, "chunks", 1_000_000, "chunks: `chunks` of a job")
	only := fs.String("only", "", "measure the parts that this regular `expression` matches: calls, idle, waiting, chunks: forget, cancel, block and expire")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	which, err := regexp.Compile(*only)
	if err != nil {
		return usagef("-only: %w", err)
	}
	if fs.NArg() > 0 || min(m.g, m.conc, m.workers) < 1 || min(m.waiting, m.chunks) < 1000 || min(m.last, m.watch) < 5*time.Second {
		return usagef("-g, -conc and -workers must be 1 or more, -waiting and -chunks 1000 or more, -for and -watch 5s or more, and there are no other arguments")
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"calls", m.calls}, {"idle", m.idle}, {"waiting", m.queued},
		{"chunks: forget", m.withPool(m.forgotten)}, {"chunks: cancel", m.withPool(m.canceled)},
		{"chunks: block", m.withPool(m.blocking)}, {"chunks: expire", m.withPool(m.expiring)}} {
		if !which.MatchString(part.name) {
			continue
		}
		if err := m.withRedis(ctx, part.run); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// withRedis runs f with a Redis of its own.
func (m *growth) withRedis(ctx context.Context, f func(context.Context) error) (err error) {
	dir, err := os.MkdirTemp("", "bench-redis-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := redistest.StartProcess(dir, redistest.Config("latency-monitor-threshold 1"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	m.s = settings{addr: server.Addr(), impl: "distpool", conc: m.conc, queues: 1, g: m.g}
	m.rdb = dial(m.s)
	defer m.rdb.Close()
	return f(ctx)
}

// priceLine is what one operation costs Redis, and for how long it held it at the most.
type priceLine struct {
	Part  string  `json:"part"`
	What  string  `json:"what"`
	Size  int     `json:"size"` // of the queue, or of the job
	N     int     `json:"n"`    // operations
	Sec   float64 `json:"sec"`
	Redis float64 `json:"redis_us_per"` // processor time of Redis's main thread
	Held  int     `json:"held_ms"`      // the longest time that Redis did nothing else, by its own latency monitor
}

// price prints what f, which does something n times, costs Redis.
func (m *growth) price(ctx context.Context, part, what string, size, n int, f func() error) error {
	if err := m.rdb.Do(ctx, "LATENCY", "RESET").Err(); err != nil {
		return err
	}
	before, err := mainThread(ctx, m.rdb)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	took := time.Since(began)
	after, err := mainThread(ctx, m.rdb)
	if err != nil {
		return err
	}
	held, err := longest(ctx, m.rdb)
	if err != nil {
		return err
	}
	return m.out.Encode(priceLine{part, what, size, n, rounded(took.Seconds(), 3), rounded(float64((after-before).Microseconds())/float64(n), 1), held})
}

// mainThread is the processor time of Redis's main thread.
func mainThread(ctx context.Context, rdb redis.UniversalClient) (time.Duration, error) {
	fields, err := infoOf(ctx, rdb, "cpu")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, name := range []string{"used_cpu_user_main_thread", "used_cpu_sys_main_thread"} {
		seconds, err := fields.number(name)
		if err != nil {
			return 0, err
		}
		sum += seconds
	}
	return time.Duration(sum * 1e9), nil
}

// longest is for how many ms Redis was held at the most since LATENCY RESET; below 1 is 0.
func longest(ctx context.Context, rdb redis.UniversalClient) (int, error) {
	events, err := rdb.Do(ctx, "LATENCY", "LATEST").Slice()
	if err != nil {
		return 0, err
	}
	most := 0
	for _, e := range events {
		fields, ok := e.([]any)
		if !ok || len(fields) != 4 {
			return 0, fmt.Errorf("unknown reply to LATENCY LATEST: %v", e)
		}
		ms, ok := fields[3].(int64)
		if !ok {
			return 0, fmt.Errorf("unknown reply to LATENCY LATEST: %v", e)
		}
		most = max(most, int(ms))
	}
	return most, nil
}
