// Command worker runs the sample tasks: a worker to try distpool with, and the
// model for one of your own, which differs in the tasks that it passes to
// worker.Run.
//
//	worker -redis redis://localhost:6379 -concurrency 10 -queues high=3,distpool=1
//
// It serves until it gets SIGTERM, SIGINT or SIGHUP (its terminal was closed), then lets the running calls finish
// for as long as -grace says. A second signal ends it at once. Its exit code is
// 0 after a clean drain, 1 when it could not run or had to abandon calls, and 2
// when it was called wrongly. Logs go to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/ending"
	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

func main() {
	os.Exit(run(ending.Context(), os.Args[1:], os.Stderr))
}

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

// run is the program.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	f, err := parse(args, stderr)
	cfg := f.Config
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "worker: %v\n", err)
		return exitUsage
	}
	target, err := redisconn.Parse(cfg.Redis)
	if err != nil {
		fmt.Fprintf(stderr, "worker: %v\n", err)
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: f.level}))
	redis.SetLogger(redisLog{log})
	cfg.Logger = log
	ring, warning, err := keyfile.Load(f.keyring)
	if err == nil && ring.IsZero() && (f.encrypt || f.allowUnsigned) {
		err = errors.New("-encrypt and -allow-unsigned are about keys; name a file of them with -keyring or $" + keyfile.Env)
	}
	if err != nil {
		fmt.Fprintf(stderr, "worker: %v\n", err)
		return exitUsage
	}
	if warning != "" {
		log.Warn(warning)
	}
	served := sample.All()
	if f.encrypt {
		served = sample.All(tasks.WithCodec(keyfile.Encrypted(ring)))
	}
	cfg.Keyring = ring
	cfg.Keyring.AllowUnsigned = f.allowUnsigned
	log.Info("starting", "redis", target, "queues", describe(cfg.Queues), "slots", cfg.Concurrency, "tasks", taskNames(served),
		"keys", keyNames(ring), "encrypted", f.encrypt)
	if f.allowUnsigned {
		log.Warn("jobs without a signature are run (-allow-unsigned): whoever can write to Redis can have tasks run")
	}
	if f.http != "" {
		operations, err := startOperations(ctx, f.http, &cfg)
		if err != nil && ctx.Err() != nil {
			log.Info("the worker was told to stop while it started", "error", err)
			return exitOK
		}
		if err != nil {
			log.Error("the worker failed", "error", err)
			return exitFailed
		}
		defer operations.stop()
		log.Info("serving /metrics, /healthz and /readyz", "address", operations.address())
	}
	if err := worker.Run(ctx, cfg, served...); err != nil {
		log.Error("the worker failed", "error", err)
		return exitFailed
	}
	return exitOK
}

// flags is what the command line says.
type flags struct {
	worker.Config
	level slog.Level
	http  string // where to serve metrics and probes; empty: nowhere

	keyring       string // see package keyfile
	encrypt       bool
	allowUnsigned bool
}

// parse reads the flags. It has written the usage to stderr if the error is
// flag.ErrHelp.
func parse(args []string, stderr io.Writer) (f flags, err error) {
	f.level = slog.LevelInfo
	cfg := &f.Config
	cfg.Queues = map[string]int{worker.DefaultQueue: 1}
	fs := flag.NewFlagSet("worker", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&cfg.Redis, "redis", "", "`URL` of the Redis to use (default $REDIS_URL, or redis://127.0.0.1:6379)")
	fs.IntVar(&cfg.Concurrency, "concurrency", runtime.NumCPU(), "number of `slots`: calls that run at the same time")
	fs.Func("queues", "queues to serve, with weights, such as high=3,distpool=1; a weight of 1 may be left out (default "+worker.DefaultQueue+")", func(s string) (err error) {
		cfg.Queues, err = parseQueues(s)
		return err
	})
	fs.DurationVar(&cfg.Grace, "grace", worker.DefaultGrace, "how long running calls may go on after a signal to stop")
	fs.StringVar(&cfg.Name, "name", "", "part of the worker's ID (default the host's name)")
	fs.Func("http", "`address` (host:port, or :port for this machine only) to serve /metrics, /healthz and /readyz on (default none)", func(s string) (err error) {
		f.http, err = listenAddress(s)
		return err
	})
	fs.StringVar(&f.keyring, "keyring", "", "`file` of keys: refuse jobs that are not signed with one of them, and sign what is recorded (default $"+keyfile.Env+", or no keys)")
	fs.BoolVar(&f.encrypt, "encrypt", false, "take arguments and record values encrypted with the keyring; producers must encrypt too")
	fs.BoolVar(&f.allowUnsigned, "allow-unsigned", false, "run jobs without a signature all the same, while producers get their first keys")
	fs.TextVar(&f.level, "log-level", f.level, "least `level` to log: debug, info, warn or error")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stderr, "worker runs distpool's sample tasks: %s.\n\nFlags:\n", taskNames(sample.All()))
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return f, err
	case err != nil:
		return f, fmt.Errorf("%w; worker -h lists the flags", err)
	case fs.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q; worker -h lists the flags", fs.Arg(0))
	case cfg.Concurrency < 1 || cfg.Concurrency > bounds.Slots:
		return f, fmt.Errorf("-concurrency is %d; use 1 to %d slots", cfg.Concurrency, bounds.Slots)
	case cfg.Grace <= 0 || cfg.Grace > bounds.Longest:
		return f, fmt.Errorf("-grace is %v; use a positive duration, such as 30s", cfg.Grace)
	}
	if err := names.CheckWorker(cfg.Name); err != nil {
		return f, fmt.Errorf("-name: %w", err)
	}
	return f, nil
}

// keyNames is the IDs of the keys, which are no secrets.
func keyNames(ring secure.Keyring) string {
	if ring.IsZero() {
		return "none"
	}
	var ids []string
	for _, k := range ring.Keys() {
		ids = append(ids, k.ID)
	}
	return strings.Join(ids, ", ")
}

func taskNames(ts []tasks.Runner) string {
	known := make([]string, len(ts))
	for i, t := range ts {
		known[i] = t.Name()
	}
	return strings.Join(known, ", ")
}

// redisLog takes what go-redis reports. The worker says itself when its Redis is
// away, so this is for those who look closely.
type redisLog struct{ log *slog.Logger }

// Printf is called by go-redis.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "go-redis: "+fmt.Sprintf(format, v...))
}
