// Package e2e_test holds the behavioural suite: what a producer, Redis and
// workers promise together. Each case runs on several topologies (see envRedis): on
// miniredis with workers in this process, and on real redis-servers with worker
// processes, for which the test binary starts itself again.
package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/worker"
)

// envWorker makes the test binary a worker: its value is a workerSpec in JSON.
const envWorker = "DISTPOOL_E2E_WORKER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(envWorker); spec != "" {
		os.Exit(workerMain(spec))
	}
	if spec := os.Getenv(envSubmitter); spec != "" {
		os.Exit(submitterMain(spec))
	}
	if spec := os.Getenv(envAttacher); spec != "" {
		os.Exit(attacherMain(spec))
	}
	// Cases wait most of the time, so more of them than there are processors can
	// run at once.
	flag.Parse()
	parallel := flag.Lookup("test.parallel")
	if n, err := strconv.Atoi(parallel.Value.String()); err == nil && n < 6 && n == runtime.GOMAXPROCS(0) {
		_ = parallel.Value.Set("6")
	}
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// workerSpec is what a worker is started with.
type workerSpec struct {
	Redis     string
	Name      string
	Queue     string
	Also      string // a further queue, of the same weight
	Strict    bool   // Queue goes before Also, always
	Slots     int
	Grace     time.Duration
	MaxResult int
	Archived  int // its ArchiveSize
	MaxCalls  int
	Initial   string   // what Init puts into the context; "fail" makes it fail, "wait" wait for SIGTERM
	Shutdown  string   // a key that Shutdown sets to what it finds in its context
	Debug     bool     // it logs at that level
	Dies      bool     // it is expected to end otherwise than with success
	Tasks     []string // names; none: all of them
	Keys      string   // a keyring as secure.ParseKeyring reads it; none: that of the suite
	Unsigned  bool     // its AllowUnsigned
	Observer  string   // a method and how it misbehaves; none: no observer
	Log       string   // how its log handler misbehaves; none: it does not
	Refused   string   // a list to which what it refuses is appended
	Asynq     bool     // a stock asynq.Server takes its deliveries
}

// run runs the worker until ctx ends.
func (s workerSpec) run(ctx context.Context, log io.Writer) error {
	known := allTasks
	if len(s.Tasks) > 0 {
		known = nil
		for _, t := range allTasks {
			for _, name := range s.Tasks {
				if t.Name() == name {
					known = append(known, t)
				}
			}
		}
	}
	level := slog.LevelInfo
	if s.Debug {
		level = slog.LevelDebug
	}
	cfg := worker.Config{
		Keyring: suiteKeyring,
		Redis:   s.Redis, Name: s.Name, Queues: map[string]int{s.Queue: 1}, Concurrency: s.Slots,
		Grace: s.Grace, MaxResult: s.MaxResult, ArchiveSize: s.Archived, MaxCalls: s.MaxCalls, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level})),
	}
	cfg.Observers = s.observers()
	if s.Log != "" {
		cfg.Logger = slog.New(brokenLog{s.Log})
	}
	if s.Keys != "" {
		var err error
		if cfg.Keyring, err = secure.ParseKeyring(s.Keys); err != nil {
			return err
		}
		cfg.Keyring.AllowUnsigned = s.Unsigned
	}
	if s.Refused != "" {
		cfg.OnRefused = func(r secure.Refusal) {
			client(s.Redis).RPush(context.Background(), s.Refused, fmt.Sprintf("%s %s %s %d", r.What, r.Reason, r.Job, r.Chunk))
		}
	}
	if s.Also != "" {
		cfg.Queues[s.Also] = 1
	}
	if s.Strict {
		cfg.StrictPriority, cfg.Queues[s.Queue] = true, 2
	}
	if s.Initial != "" {
		cfg.Init = func(ctx context.Context) (context.Context, error) {
			if s.Initial == "fail" {
				return nil, errors.New("no table, no chairs")
			}
			if s.Initial == "wait" {
				fmt.Fprintln(log, "Init waits")
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return context.WithValue(ctx, initKey{}, s.Initial), nil
		}
	}
	if s.Shutdown != "" {
		cfg.Shutdown = func(ctx context.Context) error {
			return client(s.Redis).Set(ctx, s.Shutdown, ctx.Value(initKey{}), 0).Err()
		}
	}
	if s.Asynq {
		return s.serveByAsynq(ctx, cfg, known)
	}
	return worker.Run(ctx, cfg, known...)
}

// workerMain is the worker process. It ends like a worker should, on SIGTERM;
// and at once when its standard input ends, since then its parent is gone.
func workerMain(encoded string) int {
	var spec workerSpec
	if err := json.Unmarshal([]byte(encoded), &spec); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", envWorker, err)
		return 2
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := spec.run(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
