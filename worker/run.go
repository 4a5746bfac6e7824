package worker

import (
	"cmp"
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

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/deliver"
	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/queue"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/supervise"
	"github.com/distpool/distpool/internal/version"
	"github.com/distpool/distpool/tasks"
)

// ErrRecycle says that the process should be ended and started afresh: a call
// went on after its HardTimeout, and its goroutine cannot be stopped.
var ErrRecycle = errors.New("a call did not end in time; start the worker process afresh")

// errMaxCalls is why a worker drains that has run its MaxCalls.
var errMaxCalls = errors.New("it has run its MaxCalls")

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
	if err := checkKeys(known); err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	watcher, err := observers.Workers(cfg.Observers, cfg.Logger)
	if err != nil {
		return fmt.Errorf("worker.Config: %w", err)
	}
	rdb, ours, err := cfg.connect(ctx)
	if err != nil {
		return unlessStopped(ctx, cfg.Logger, fmt.Errorf("starting a worker: %w", err))
	}
	if ours {
		defer func() { _ = rdb.Close() }()
	}
	listen, err := redisconn.Dedicated(rdb, listeners)
	if err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	defer func() { _ = listen.Close() }()
	if ours && watcher != nil {
		rdb.AddHook(observers.Hook(watcher.RoundTrip))
		listen.AddHook(observers.Hook(watcher.RoundTrip))
	}
	w := newWorker(ctx, cfg, rdb, known)
	w.ours = ours
	defer w.serving.end(nil)
	if err := w.self.CheckSize(); err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	w.watchBy(watcher)
	if err := w.init(ctx); err != nil {
		return unlessStopped(ctx, w.log, err)
	}
	w.wire(listen)
	if err = w.join(ctx); err != nil {
		err = unlessStopped(ctx, w.log, fmt.Errorf("starting a worker: %w", err))
	} else {
		err = w.run()
	}
	if cfg.Shutdown != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(w.calls.Context), cfg.Grace)
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
	w.calls.end(nil) // it is replaced
	w.calls = newPhase(context.WithoutCancel(with))
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

// checkKeys says what is wrong with the keys of codecs that encrypt, before a delivery is taken.
func checkKeys(known map[string]call.Task) error {
	for name, t := range known {
		if s := call.SealerOf(t); s != nil {
			if _, err := s.Seal(nil, nil); err != nil {
				return fmt.Errorf("task %q: %w", name, err)
			}
		}
	}
	return nil
}

// worker is one running worker.
type worker struct {
	cfg      Config
	rdb      redis.UniversalClient
	ours     bool // rdb is
	log      *slog.Logger
	self     fleet.Worker
	member   *fleet.Member
	router   *lanes.Router
	joined   []string // the lanes of its queues, as they were when it joined the fleet
	consumer *queue.Consumer
	executor execute.Executor
	handler  deliver.Handler
	hosted   func(deliver.Hosted) // nil: it takes its deliveries itself
	counters

	// What ends one after the other when the worker drains.
	serving phase // it takes deliveries, and begins calls
	calls   phase // calls run
	returns phase // chunks that did not end are given back
}

// phase is a part of a worker's life.
type phase struct {
	context.Context
	end context.CancelCauseFunc
}

func newPhase(ctx context.Context) phase {
	ctx, end := context.WithCancelCause(ctx)
	return phase{ctx, end}
}

// counters count what the worker has done.
type counters struct {
	ran      atomic.Int64 // calls
	failures atomic.Int64 // of these
	busyTime atomic.Int64 // ns that calls took, added up
}

// listeners bounds the connections on which a worker waits for deliveries.
const listeners = 1 << 10

func newWorker(ctx context.Context, cfg Config, rdb redis.UniversalClient, known map[string]call.Task) *worker {
	host, _ := os.Hostname()
	w := &worker{
		cfg: cfg, rdb: rdb, router: lanes.NewRouter(rdb), hosted: deliver.HostFrom(ctx),
		self: fleet.Worker{
			ID:   fmt.Sprintf("%s:%d:%s", cmp.Or(cfg.Name, host), os.Getpid(), strings.ToLower(rand.Text()[:8])),
			Host: host, PID: os.Getpid(), Concurrency: cfg.Concurrency, Queues: cfg.Queues,
			Tasks: slices.Sorted(maps.Keys(known)), Started: time.Now().UTC().Truncate(time.Second), Version: version.Of(),
		},
	}
	w.log = cfg.Logger.With("worker", w.self.ID)
	w.member = fleet.New(rdb, w.self, w.log)
	w.serving, w.returns = newPhase(ctx), newPhase(context.Background())
	w.calls = newPhase(tasks.WithLogger(context.Background(), w.log))
	w.executor = execute.Executor{
		Worker: w.self.ID, Tasks: known, MaxResult: cfg.MaxResult, MaxDeaths: deliver.Budget, Exact: cfg.MaxCalls > 0,
		Serving: w.serving, Waits: &nested.Waits{}, Log: w.log,
		Count: w.countCalls, CountFailure: func() { w.failures.Add(1) }, Recycle: func() { w.serving.end(ErrRecycle) },
	}
	return w
}

// watchBy has the worker tell o, which may be nil, and its debug log.
func (w *worker) watchBy(o *observers.Worker) {
	debug := w.log.Enabled(context.Background(), slog.LevelDebug)
	if o == nil && debug {
		o = &observers.Worker{}
	}
	w.executor.Observers, w.executor.Debug = o, debug
}

// wire puts the parts together that deal with deliveries. listen is a client for requests that
// wait.
func (w *worker) wire(listen redis.UniversalClient) {
	cfg := queue.Config{
		Redis: w.rdb, Listen: listen, Worker: w.self.ID, Slots: w.cfg.Concurrency, Strict: w.cfg.StrictPriority,
		Lanes: w.router.Lanes, Budget: deliver.Budget, Waits: w.executor.Observers != nil, Run: w.handler.Serve, Refuse: w.handler.Refuse, Logger: w.log,
	}
	for _, name := range slices.Sorted(maps.Keys(w.cfg.Queues)) {
		cfg.Queues = append(cfg.Queues, queue.Queue{Name: name, Weight: w.cfg.Queues[name]})
	}
	h := &w.handler
	if w.hosted != nil {
		cfg.Slots, h.Hosted = 0, true
	}
	w.consumer = queue.NewConsumer(cfg)
	h.Redis, h.Executor, h.Signer = w.rdb, &w.executor, signing.New(w.cfg.Keyring)
	h.OnRefused, h.Yield = w.cfg.OnRefused, w.consumer.Yield
	h.Calls, h.Returns = w.calls, w.returns
	h.Start(w.cfg.Concurrency)
}

func (w *worker) run() (err error) {
	background, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() { w.keepBeating(background) })
	others.Go(func() { w.hear(background) })
	others.Go(func() {
		supervise.New(supervise.Config{
			Redis: w.rdb, Fleet: w.member, Lanes: w.allLanes, KeepArchived: w.cfg.ArchiveSize, ArchivedFor: w.cfg.ArchiveAge, Logger: w.log,
		}).Run(background)
	})
	deaf := false // Redis did not answer while the worker drained
	defer func() {
		stop()
		farewell := farewellTime
		if deaf {
			farewell = shortFarewell
		}
		within(farewell, inBackground(others.Wait))
		w.leave(farewell)
	}()
	if o := w.executor.Observers; o != nil {
		state := &workerState{w}
		o.StartWorker(state)
		defer o.StopWorker(state)
	}
	served := inBackground(func() { w.consumer.Serve(w.serving) })
	w.log.Info("the worker serves", "queues", w.cfg.Queues, "slots", w.cfg.Concurrency, "tasks", w.self.Tasks)
	if w.hosted != nil {
		w.hosted(deliver.Hosted{Queues: w.weights(), Deliver: w.deliver})
	}
	<-w.serving.Done()
	why := context.Cause(w.serving)
	w.log.Info("the worker drains", "reason", why, "grace", w.cfg.Grace)
	deaf, err = w.drain(served)
	if errors.Is(why, ErrRecycle) {
		err = ErrRecycle
	} else if err != nil {
		return err
	}
	w.log.Info("the worker has drained", "calls", w.ran.Load())
	return err
}

// deliver deals with a delivery that an asynq.Server has taken.
func (w *worker) deliver(ctx context.Context, lane, taskID, task string) error {
	if over, ok := w.consumer.Begin(lane, taskID); ok {
		defer over()
	}
	return w.handler.Deliver(ctx, lane, taskID, task)
}

// countCalls counts calls that ended, and the time that they took.
func (w *worker) countCalls(calls int, took time.Duration) {
	w.busyTime.Add(int64(took))
	n, most := w.ran.Add(int64(calls)), int64(w.cfg.MaxCalls)
	if most > 0 && n >= most {
		w.serving.end(errMaxCalls)
	}
}

// workerState implements observe.WorkerState.
type workerState struct{ w *worker }

func (s *workerState) ID() string             { return s.w.self.ID }
func (s *workerState) Tasks() []string        { return s.w.self.Tasks }
func (s *workerState) Queues() map[string]int { return s.w.cfg.Queues }
func (s *workerState) Slots() int             { return s.w.cfg.Concurrency }
func (s *workerState) Busy() int              { return s.w.handler.Busy() }
func (s *workerState) Draining() bool         { return s.w.serving.Err() != nil }
