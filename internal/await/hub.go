// Package await lets a process wait for its jobs: one subscription (on a Cluster one for each lane),
// one goroutine that reads, however many jobs are outstanding.
//
// Notices are hints (notices.go), polling is the truth (read.go). A recording publishes a notice on
// the job's reply channel, with the outcomes in it when they are small, so the usual wait costs no
// read at all. Every outstanding job is also polled: slowly while the subscription is healthy, faster
// while it is not, at a bounded rate however many there are, and all at once when the subscription
// comes back. What either brings is news of a Job (job.go), which settles once nothing more will come.
package await

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/listen"
	"github.com/distpool/distpool/internal/names"
)

// The sentinels that package results exports. They are made here because the
// hub settles jobs with them.
var (
	ErrCanceled   = errors.New("the job was canceled")
	ErrUnknownJob = errors.New("no job has this ID")
	ErrExpired    = errors.New("the job's record is gone")
	ErrCorrupt    = errors.New("the job's record is corrupt")
	ErrClosed     = errors.New("the pool is closed")
	ErrUntrusted  = errors.New("refused because of its signature")

	ErrNotStarted error = notStartedError{}
)

type notStartedError struct{}

func (notStartedError) Error() string {
	return "the job was canceled: nothing of it was started in time"
}

// Is makes it an ErrCanceled too.
func (notStartedError) Is(target error) bool { return target == ErrCanceled }

// Config is what a Hub works with. Nothing but Settled may be left out.
type Config struct {
	Redis  redis.UniversalClient
	Router *lanes.Router
	Log    *slog.Logger
	Pool   string   // the records of this pool's jobs name it: it is told of their outcomes
	Lanes  []string // to hear of its jobs from the start

	// Sweep is called with jobs that ended before their time, so that what waits for them
	// to run can be removed, and with jobs that were forgotten, of which nothing is to be
	// left at all. It must not wait. Swept waits until what Sweep was told of is removed.
	Sweep func(j *Job, forgotten bool)
	Swept func(context.Context) error

	// Revive is called with jobs that make no progress, to issue again what was lost of them.
	Revive func(context.Context, *Job)
	// Unserved reports whether a queue is known to have no worker. It must not ask Redis.
	Unserved func(queue string) bool
	// Settled is told of each job that is settled, before anybody else can know.
	Settled func(*Job)
}

// Hub waits for the jobs of one pool. It is safe for concurrent use.
type Hub struct {
	Config
	callbacks queue
	sub       *listen.Listener
	stop      context.CancelFunc
	finished  sync.WaitGroup
	wake      chan struct{} // there is something to read now

	mu      sync.Mutex // guards all below
	jobs    map[names.Address]*Job
	polls   []*Job         // every tracked job once, the one that is next first
	dirty   map[*Job]bool  // the set of jobs to read now
	wanted  []chunkRef     // outcomes to read now, too large for their notices
	borrows map[string]int // other pools' reply channels -> jobs that listen to them
	drained chan struct{}  // closed when no job is outstanding; nil while nobody waits
	closed  bool
}

// Start subscribes to the reply channels of the pool and starts waiting. It
// returns once the subscription is confirmed, or with an error.
func Start(ctx context.Context, cfg Config) (*Hub, error) {
	run, stop := context.WithCancel(context.Background())
	h := &Hub{
		Config:    cfg,
		callbacks: queue{log: cfg.Log},
		stop:      stop,
		wake:      make(chan struct{}, 1),
		jobs:      map[names.Address]*Job{},
		dirty:     map[*Job]bool{},
		borrows:   map[string]int{},
	}
	h.sub = listen.New(listen.Config{Redis: cfg.Redis, Silence: pingEvery, Message: h.message, Subscribed: h.resync, Refused: func(err error) {
		cfg.Log.Warn("Redis refuses the subscription to notices; polling for outcomes instead", "error", err)
	}})
	for _, lane := range cfg.Lanes {
		h.sub.Add(job.ReplyChannel(lane, cfg.Pool))
	}
	for _, lane := range cfg.Lanes {
		if err := h.sub.Await(ctx, job.ReplyChannel(lane, cfg.Pool)); err != nil {
			stop()
			h.sub.Close()
			return nil, fmt.Errorf("subscribing to %s: %w", job.ReplyChannel(lane, cfg.Pool), err)
		}
	}
	h.finished.Go(func() { h.read(run) })
	h.finished.Go(func() { h.watchStalls(run) })
	return h, nil
}

// Track starts waiting for a job. When a job of this ID is tracked already, that
// one is returned instead.
func (h *Hub) Track(j *Job) (*Job, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if known, ok := h.jobs[j.address()]; ok {
		return known, nil
	}
	j.hub = h
	j.heard = time.Now()
	j.moved = j.heard
	h.jobs[j.address()] = j
	h.polls = append(h.polls, j)
	if len(h.jobs) == 1 { // the reader sleeps while there is none
		h.kick()
	}
	return j, nil
}

// tracks reports whether the hub waits for the job. It is called with mu held.
func (h *Hub) tracks(j *Job) bool { return h.jobs[j.address()] == j }

// reread has the job's record read.
func (h *Hub) reread(j *Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tracks(j) {
		h.markDirty(j)
	}
}

// markDirty is called with mu held.
func (h *Hub) markDirty(j *Job) {
	h.dirty[j] = true
	h.kick()
}

func (h *Hub) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// LogCorrupt logs that what came of the job's record does not fit. Whoever finds
// that out tells its caller too.
func (h *Hub) LogCorrupt(j *Job, err error) {
	h.Log.Error("giving up on a job", "job", j.ID, "task", j.Task, "error", err)
}

// Outstanding is the number of jobs that are not settled.
func (h *Hub) Outstanding() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.jobs)
}

// outstanding returns the jobs that are not settled.
func (h *Hub) outstanding() []*Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.jobs))
}

// settled is told by a job, once, that it is settled.
func (h *Hub) settled(j *Job, done chan struct{}, waiting []func()) {
	if h.Settled != nil {
		h.Settled(j)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.jobs, j.address())
	delete(h.dirty, j)
	if len(h.jobs) == 0 {
		h.polls = nil // or they would keep what is here of the jobs until there is another one
	}
	h.giveBack(j.borrowed)
	for _, timer := range []*time.Timer{j.expiry, j.start} {
		if timer != nil {
			timer.Stop()
		}
	}
	// In this order, so that who sees the job done finds it no longer outstanding,
	// and who sees nothing outstanding finds the callbacks queued.
	close(j.over)
	switch {
	case len(waiting) > 0:
		h.callbacks.push(j.ID, append(waiting, func() { close(done) })...)
	case done != j.over:
		close(done)
	}
	if len(h.jobs) == 0 && h.drained != nil {
		close(h.drained)
		h.drained = nil
	}
}

// Refuse makes every later Track fail with ErrClosed.
func (h *Hub) Refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}

// Drain waits until no job is outstanding and no callback is queued or running.
func (h *Hub) Drain(ctx context.Context) error {
	h.mu.Lock()
	var drained <-chan struct{}
	if len(h.jobs) > 0 {
		if h.drained == nil {
			h.drained = make(chan struct{})
		}
		drained = h.drained
	}
	h.mu.Unlock()
	if err := Until(ctx, drained); err != nil {
		return err
	}
	// Asked only now: a job's callbacks are queued before it stops being outstanding.
	return Until(ctx, h.callbacks.whenIdle())
}

// Until waits for a channel to close; a nil one is not waited for. When ctx ends first it returns
// the cause.
func Until(ctx context.Context, closes <-chan struct{}) error {
	if closes == nil {
		return nil
	}
	select {
	case <-closes:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop ends all waiting. Jobs that are outstanding settle with err.
func (h *Hub) Stop(err error) {
	h.Refuse()
	for _, j := range h.outstanding() {
		j.Fail(err)
	}
	h.stop()
	h.sub.Close()
	h.finished.Wait()
}
