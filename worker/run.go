package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/broker"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/combine"
	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/version"
	"github.com/distpool/distpool/tasks"
)

// ErrRecycle says that the process should be ended and started afresh: a call
// went on after its HardTimeout, and its goroutine cannot be stopped.
var ErrRecycle = errors.New("a call did not end in time; start the worker process afresh")

// Run serves the tasks until ctx ends, then drains: it takes no more deliveries,
// lets the running calls (not the rest of their chunks) finish for as long as
// Config.Grace allows, gives back what has not run by then, and returns within about a
// second after that. What the finished calls of a chunk returned is kept.
//
// It also drains by itself, after Config.MaxCalls calls or when a call passed its
// HardTimeout.
//
// It returns nil after a clean drain, and when ctx ends while it starts, Config.Init
// included; ErrRecycle after a HardTimeout; an error that
// counts the chunks which had to be abandoned, since their calls did not end, or Redis
// took neither their outcomes nor them; and at once an error when the configuration is
// wrong, Config.Init fails, or Redis cannot be used at the start. A Redis that goes
// away later is waited for; one that does not answer while the worker drains is not, except
// for up to some 20 s with a Config.Client. Two tasks of one name, no task at all, or a
// task that is only declared are programmer errors: Run panics.
func Run(ctx context.Context, cfg Config, ts ...tasks.Runner) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	known := index(ts)
	watcher, err := observers.Workers(cfg.Observers, cfg.Logger)
	if err != nil {
		return fmt.Errorf("worker.Config: %w", err)
	}
	rdb, ours, err := cfg.connect(ctx)
	if err != nil {
		return unlessStopped(ctx, cfg.Logger, fmt.Errorf("starting a worker: %w", err))
	}
	var w *worker
	if ours {
		defer func() {
			if w == nil || w.asynqEnds == nil {
				_ = rdb.Close()
				return
			}
			go func() { // asynq v0.26 panics when its client is closed under it (subscriber.go)
				<-w.asynqEnds
				_ = rdb.Close()
			}()
		}()
		if watcher != nil {
			rdb.AddHook(observers.Hook(watcher.RoundTrip))
		}
	}
	w = newWorker(cfg, rdb, known)
	w.ours = ours
	if err := w.self.CheckSize(); err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	if err := w.checkKeys(); err != nil {
		return err
	}
	w.watchBy(watcher)
	if err := w.init(ctx); err != nil {
		return unlessStopped(ctx, w.log, err)
	}
	if err = w.member.Join(ctx); err != nil {
		err = unlessStopped(ctx, w.log, fmt.Errorf("starting a worker: %w", err))
	} else {
		err = w.run(ctx)
	}
	if cfg.Shutdown != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(w.calls), cfg.Grace)
		defer cancel()
		if serr := cfg.Shutdown(end); serr != nil {
			err = errors.Join(err, fmt.Errorf("worker.Config.Shutdown: %w", serr))
		}
	}
	return err
}

// unlessStopped returns the error of a start, or nil if the worker was told to stop meanwhile:
// what ends with its context says so by an error, and the log keeps any other.
func unlessStopped(ctx context.Context, log *slog.Logger, err error) error {
	if ctx.Err() == nil || errors.Is(err, redisconn.ErrBadURL) {
		return err
	}
	log.Info("the worker was told to stop while it started", "reason", context.Cause(ctx), "error", err)
	return nil
}

// init runs the user's initializer. What it puts into the context reaches the
// calls.
func (w *worker) init(ctx context.Context) error {
	if w.cfg.Init == nil {
		return nil
	}
	with, err := w.cfg.Init(tasks.WithLogger(ctx, w.log))
	if err == nil && with == nil {
		err = errors.New("it returned a nil context; return the one that it was given, or one made from it")
	}
	if err != nil {
		return fmt.Errorf("worker.Config.Init: %w", err)
	}
	w.abort(nil) // of the context that is replaced
	w.calls, w.abort = context.WithCancelCause(context.WithoutCancel(with))
	return nil
}

func index(ts []tasks.Runner) map[string]call.Task {
	if len(ts) == 0 {
		panic("worker.Run: no tasks; pass at least one that was made by tasks.Define")
	}
	known := make(map[string]call.Task, len(ts))
	for _, t := range ts {
		if _, dup := known[t.Name()]; dup {
			panic(fmt.Sprintf("worker.Run: two tasks have the name %q; names identify tasks, so give one of them another", t.Name()))
		}
		known[t.Name()] = tasks.Erase(t)
	}
	return known
}

// worker is one running worker.
type worker struct {
	cfg   Config
	rdb   redis.UniversalClient
	log   *slog.Logger
	tasks map[string]call.Task
	// signer is nil while signing is off.
	signer *signing.Signer
	self   fleet.Worker
	member *fleet.Member
	bell   *doorbell
	// shared combines the requests of the slots into fewer round trips.
	shared *combine.Client
	// finisher ends chunks in the background; nil where that cannot be done.
	finisher *finisher
	// inspector brings deliveries back that wait for a retry.
	inspector *asynq.Inspector
	// broker issues chunks again: given back by a draining worker, or lost by a
	// dead one.
	broker *broker.Broker

	// slots holds a token for each running chunk. asynq has a limit of its own,
	// but frees its slot when it gives a task up (a lost lease) while our call
	// still runs; this one is what keeps concurrency fixed.
	slots chan struct{}
	// handlers counts deliveries that are being dealt with.
	handlers tally

	// calls is the context of all calls; abort cancels it.
	calls context.Context
	abort context.CancelCauseFunc

	executor execute.Executor // of the chunks

	watcher *observers.Worker // nil: there are no observers and no debug log
	debug   bool              // the log wants to know

	waits nested.Waits // of calls, for nested jobs

	ours      bool            // the client is
	asynqEnds <-chan struct{} // closed when asynq has ended; nil: it has, or was never told to

	graceEnds atomic.Int64 // Unix time, ns; 0: it does not drain
	draining  atomic.Bool  // running chunks end after their current call
	ran       atomic.Int64 // calls
	failures  atomic.Int64 // of these
	busyTime  atomic.Int64 // ns that calls took, added up

	bounces bounces // of deliveries for other workers

	paces map[string]*pace // of tasks

	recycled chan error // holds the reason for which the worker ends by itself

	mu         sync.Mutex // guards all below
	running    map[chunkKey]*chunkRun
	unreturned map[chunkKey]bool // chunks of which Redis took neither the outcomes nor what was left
}

type chunkKey struct {
	job   record.Ref
	chunk int
}

// The causes for which a call's context is canceled.
var (
	errDraining = errors.New("the worker is shutting down")
	errJobEnded = errors.New("the job was canceled")
	errNotOurs  = errors.New("another worker has taken the chunk over")
)

func newWorker(cfg Config, rdb redis.UniversalClient, known map[string]call.Task) *worker {
	host, _ := os.Hostname()
	name := cfg.Name
	if name == "" {
		name = host
	}
	w := &worker{
		cfg: cfg, rdb: rdb, tasks: known, broker: broker.New(rdb), signer: signing.New(cfg.Keyring),
		slots:   make(chan struct{}, cfg.Concurrency),
		running: map[chunkKey]*chunkRun{}, unreturned: map[chunkKey]bool{},
		paces:    make(map[string]*pace, len(known)),
		recycled: make(chan error, 1), inspector: asynq.NewInspectorFromRedisClient(rdb),
		self: fleet.Worker{
			ID: fmt.Sprintf("%s:%d:%s", name, os.Getpid(), strings.ToLower(rand.Text()[:8])), Host: host, PID: os.Getpid(),
			Concurrency: cfg.Concurrency, Queues: cfg.Queues,
			Tasks: slices.Sorted(maps.Keys(known)), Started: time.Now().UTC().Truncate(time.Second), Version: version.Of(), Big: true,
		},
	}
	for name := range known {
		w.paces[name] = &pace{}
	}
	w.log = cfg.Logger.With("worker", w.self.ID)
	w.executor = execute.Executor{
		Worker: w.self.ID, Tasks: known, MaxResult: cfg.MaxResult, MaxDeaths: budget, Exact: cfg.MaxCalls > 0,
		Draining: &w.draining, Count: w.countCalls, CountFailure: func() { w.failures.Add(1) }, Recycle: func() { w.recycle(ErrRecycle) }, Log: w.log,
	}
	w.member = fleet.New(rdb, w.self, w.log)
	w.bell = newDoorbell(rdb, w.self.ID, slices.Collect(maps.Keys(cfg.Queues)))
	w.bell.giveWay = w.bounces.pause
	w.shared = w.bell.Client
	if record.OneServer(rdb) {
		w.finisher = newFinisher(w)
		w.bell.finisher = w.finisher
		w.bell.lookOut(slices.Collect(maps.Keys(cfg.Queues)))
		w.bell.fetcher = newFetcher(rdb, w.self.ID, cfg, func() int { return cap(w.slots) - len(w.slots) })
		w.bell.fetcher.pause = w.bounces.pause
	}
	w.calls, w.abort = context.WithCancelCause(tasks.WithLogger(context.Background(), w.log))
	return w
}

func (w *worker) run(ctx context.Context) error {
	srv := asynq.NewServerFromRedisClient(w.bell, asynq.Config{
		Concurrency: w.cfg.Concurrency,
		Queues:      w.cfg.Queues, StrictPriority: w.cfg.StrictPriority,
		// An empty queue makes asynq sleep for about this long before it asks again.
		// The doorbell does the waiting instead.
		TaskCheckInterval:        time.Nanosecond,
		DelayedTaskCheckInterval: lookEvery,
		JanitorInterval:          time.Minute, // it removes finished tasks that asynq kept, and we let it keep none
		ShutdownTimeout:          w.cfg.Grace + lastMoment,
		RetryDelayFunc:           retryDelay,
		IsFailure:                isFailure,
		Logger:                   &asynqLogger{log: w.log, troubled: w.member.Troubled},
		LogLevel:                 asynq.WarnLevel,
	})
	background, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() { w.keepBeating(background) })
	others.Go(func() { w.listen(background) })
	supervisor := newSupervisor(w)
	others.Go(func() { supervisor.run(background) })
	defer func() {
		stop()
		within(time.Now().Add(w.farewell()), inBackground(others.Wait))
		w.depart(supervisor)
	}()
	if w.watcher != nil {
		state := &workerState{w}
		w.watcher.StartWorker(state)
		defer w.watcher.StopWorker(state)
	}
	if err := srv.Start(asynq.HandlerFunc(w.deliver)); err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	w.log.Info("the worker serves", "queues", w.cfg.Queues, "slots", w.cfg.Concurrency, "tasks", w.self.Tasks)
	var why error
	select {
	case <-ctx.Done():
		w.log.Info("the worker drains", "reason", context.Cause(ctx), "grace", w.cfg.Grace)
	case why = <-w.recycled:
		w.log.Info("the worker drains by itself", "reason", why, "grace", w.cfg.Grace)
	}
	if err := w.drain(srv); err != nil && why == nil {
		return err
	}
	w.log.Info("the worker has drained", "calls", w.ran.Load())
	return why
}

// recycle makes the worker drain and Run return why.
func (w *worker) recycle(why error) {
	select {
	case w.recycled <- why:
	default: // it ends already
	}
}

// countCalls counts calls that ended, and the time that they took.
func (w *worker) countCalls(calls int, took time.Duration) {
	w.busyTime.Add(int64(took))
	n, most := w.ran.Add(int64(calls)), int64(w.cfg.MaxCalls)
	if most > 0 && n >= most && n-int64(calls) < most {
		w.log.Info("the worker has run its MaxCalls and ends", "calls", n)
		w.draining.Store(true) // at once: what has been fetched already begins no call any more
		w.recycle(nil)
	}
}
