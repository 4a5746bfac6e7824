// Package await lets a process wait for its jobs: one subscription (on a Cluster one for each lane),
// one goroutine that reads, however many jobs are outstanding.
//
// Notices are hints, polling is the truth. A recording publishes a notice on
// the job's reply channel, with the outcomes in it when they are small, so the
// usual wait costs no read at all. Every outstanding job is also polled: slowly
// while the subscription is healthy, faster while it is not, at a bounded rate
// however many there are, and all at once when the subscription comes back.
package await

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/callbacks"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/listen"
	"github.com/distpool/distpool/internal/names"
)

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
	callbacks callbacks.Queue
	sub       *listen.Listener
	stop      context.CancelFunc
	finished  sync.WaitGroup
	wake      chan struct{} // there is something to read now

	mu      sync.Mutex // guards all below
	jobs    map[names.Address]*Job
	polls   []*Job         // every tracked job once, the one that is next first
	dirty   map[*Job]bool  // the set of jobs to read now
	wanted  []chunkRef     // outcomes to read now, too large for their notices
	overdue []*Job         // jobs that may have to be ended because they were not started in time
	borrows map[string]int // other pools' reply channels -> jobs that listen to them
	drained chan struct{}  // closed when no job is outstanding; nil while nobody waits
	closed  bool
}

type chunkRef struct {
	job          *Job
	chunk, place int
	large        []byte // the reference to its outcomes, if that is known
}

// Start subscribes to the reply channels of the pool and starts waiting. It
// returns once the subscription is confirmed, or with an error.
func Start(ctx context.Context, cfg Config) (*Hub, error) {
	run, stop := context.WithCancel(context.Background())
	h := &Hub{
		Config:    cfg,
		callbacks: callbacks.Queue{Log: cfg.Log},
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

// sweptWithin bounds the wait of Cancel and Forget for the removal of deliveries. The removal
// of tens of thousands takes longer, and goes on behind it.
const sweptWithin = time.Second

// awaitSwept waits a while until nothing waits to run canceled jobs any more.
func (h *Hub) awaitSwept(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sweptWithin)
	defer cancel()
	_ = h.Swept(ctx)
}

// clear has nothing left of a job that is settled.
func (h *Hub) clear(j *Job, forgotten bool) {
	j.mu.Lock()
	again := j.swept
	j.swept = true
	j.mu.Unlock()
	if !again || forgotten {
		h.Sweep(j, forgotten)
	}
}

// pingEvery is how long a subscription may be silent before it is asked whether it stands.
const pingEvery = 3 * time.Second

// listenTime bounds the wait for a further subscription.
const listenTime = time.Second

// Listen has the hub hear of this pool's jobs in a lane. It waits a while until that is so:
// what it does not hear of is polled.
func (h *Hub) Listen(ctx context.Context, lane string) {
	channel := job.ReplyChannel(lane, h.Pool)
	if h.sub.Add(channel) {
		return
	}
	soon, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	if h.sub.Await(soon, channel) != nil && ctx.Err() == nil {
		h.sub.GiveUp(channel) // the next one need not wait
	}
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
	h.jobs[j.address()] = j
	h.polls = append(h.polls, j)
	if len(h.jobs) == 1 { // the reader sleeps while there is none
		h.kick()
	}
	return j, nil
}

// Drop stops waiting for a job, which settles with err.
func (h *Hub) Drop(j *Job, err error) { j.fail(err) }

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
	if err := until(ctx, drained); err != nil {
		return err
	}
	// Asked only now: a job's callbacks are queued before it stops being outstanding.
	return until(ctx, h.callbacks.Idle())
}

// InCallback reports whether it is called by a callback, while one of the hub's runs:
// what waits for these then would wait for itself.
func (h *Hub) InCallback() bool {
	return h.callbacks.Waits()
}

func until(ctx context.Context, c <-chan struct{}) error {
	if c == nil {
		return nil
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop ends all waiting. Jobs that are outstanding settle with err.
func (h *Hub) Stop(err error) {
	h.Refuse()
	for _, j := range h.outstanding() {
		j.fail(err)
	}
	h.stop()
	h.sub.Close()
	h.finished.Wait()
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
		h.callbacks.Push(j.ID, append(waiting, func() { close(done) })...)
	case done != j.over:
		close(done)
	}
	if len(h.jobs) == 0 && h.drained != nil {
		close(h.drained)
		h.drained = nil
	}
}

// message takes in one message of the subscription.
func (h *Hub) message(channel, payload string) {
	lane, ok := job.LaneOfReply(channel)
	queue := job.QueueOf(lane)
	for n, err := range job.ParseNotices(payload) {
		if err != nil || !ok {
			h.Log.Error("ignoring a notice", "queue", queue, "error", err)
			return
		}
		h.notice(names.Address{Queue: queue, Name: n.Name}, n)
	}
}

func (h *Hub) notice(at names.Address, n job.Notice) {
	h.mu.Lock()
	j, ok := h.jobs[at]
	h.mu.Unlock()
	if !ok || j.Ref != n.Ref {
		return // another pool's job on a borrowed channel, or one that is settled
	}
	if n.State == job.Untrusted || n.State == job.Missing || n.State == job.Corrupt || n.What == job.RecordedHere && j.Open != nil && !job.IsReference(n.Frame) && !h.openNotice(j, &n) {
		h.reread(j) // it says why
		return
	}
	counts := Counts{State: n.State, Recorded: n.Recorded, Done: n.Done, Failed: n.Failed, Running: n.Running}
	out := recorded{chunk: n.Chunk, place: n.Recorded - 1}
	var large []byte
	switch {
	case n.What != job.RecordedHere:
	case job.IsReference(n.Frame):
		large = n.Frame
		j.HasLarge()
	default:
		out.frame = n.Frame
	}
	missing := j.hear(counts, out)
	if !missing {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if out.frame == nil && n.Chunk >= 0 && n.What != job.Progress {
		h.wanted = append(h.wanted, chunkRef{job: j, chunk: n.Chunk, place: n.Recorded - 1, large: large})
		h.kick()
	}
	if n.State.Ended() {
		// This was the last notice. What is not on its way already was missed.
		h.markDirty(j)
	}
}

// resync reads every job of a channel's lane: the subscription is new, notices may have been
// missed.
func (h *Hub) resync(channel string) {
	lane, _ := job.LaneOfReply(channel)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.jobs {
		if j.Lane == lane {
			h.markDirty(j)
		}
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
