// Package await lets a process wait for its jobs: one subscription, one
// goroutine that reads, however many jobs are outstanding.
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
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// Hub waits for the jobs of one pool. It is safe for concurrent use.
type Hub struct {
	rdb     redis.UniversalClient
	log     *slog.Logger
	channel string // our own reply channel

	callbacks callbackQueue
	sub       *subscription
	stop      context.CancelFunc
	finished  sync.WaitGroup
	wake      chan struct{}                // there is something to read now
	revive    func(context.Context, *Job)  // issues again what was lost of a job
	sweep     func(j *Job, forgotten bool) // see SetSweep
	swept     func(context.Context) error  // see SetSweep
	unserved  func(queue string) bool      // no worker serves the queue, as far as known
	observe   func(*Job)                   // told of each job that is settled, before anybody else; may be nil

	mu      sync.Mutex // guards all below
	jobs    map[string]*Job
	polls   []*Job         // every tracked job once, the one that is next first
	dirty   map[*Job]bool  // the set of jobs to read now
	wanted  []chunkRef     // outcomes to read now, too large for their notices
	overdue []*Job         // jobs that may have to be ended because they were not started in time
	borrows map[string]int // other pools' reply channels -> jobs that listen to them
	drained chan struct{}  // closed when no job is outstanding; nil while nobody waits
	closed  bool
}

type chunkRef struct {
	job   *Job
	chunk int
	large []byte // the reference to its outcomes, if that is known
}

// Start subscribes to the reply channel of the pool and starts waiting. It
// returns once the subscription is confirmed, or with an error.
func Start(ctx context.Context, rdb redis.UniversalClient, pool string, log *slog.Logger) (*Hub, error) {
	run, stop := context.WithCancel(context.Background())
	h := &Hub{
		rdb: rdb, log: log, channel: record.ReplyChannel(pool),
		callbacks: callbackQueue{log: log},
		revive:    func(context.Context, *Job) {},
		sweep:     func(*Job, bool) {},
		swept:     func(context.Context) error { return nil },
		unserved:  func(string) bool { return false },
		stop:      stop,
		wake:      make(chan struct{}, 1),
		jobs:      map[string]*Job{},
		dirty:     map[*Job]bool{},
		borrows:   map[string]int{},
	}
	h.sub = newSubscription(rdb, h)
	if err := h.sub.open(ctx, h.channel); err != nil {
		stop()
		return nil, fmt.Errorf("subscribing to %s: %w", h.channel, err)
	}
	h.finished.Go(func() { h.sub.run(run) })
	h.finished.Go(func() { h.read(run) })
	h.finished.Go(func() { h.watchStalls(run) })
	return h, nil
}

// SetSweep has the hub call f with jobs that ended before their time, so that what waits
// for them to run can be removed, and with jobs that were forgotten, of which nothing is to
// be left at all. f must not wait; swept waits until what f was told of has been removed.
// SetSweep must come before the first job.
func (h *Hub) SetSweep(f func(j *Job, forgotten bool), swept func(context.Context) error) {
	h.sweep, h.swept = f, swept
}

// sweptWithin bounds the wait of Cancel and Forget for the removal of deliveries. The removal
// of tens of thousands takes longer, and goes on behind it.
const sweptWithin = time.Second

// awaitSwept waits a while until nothing waits to run canceled jobs any more.
func (h *Hub) awaitSwept(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sweptWithin)
	defer cancel()
	_ = h.swept(ctx)
}

// clear has nothing left of a job that is settled.
func (h *Hub) clear(j *Job, forgotten bool) {
	j.mu.Lock()
	again := j.swept
	j.swept = true
	j.mu.Unlock()
	if !again || forgotten {
		h.sweep(j, forgotten)
	}
}

// SetUnserved has the hub ask f whether a queue is known to have no worker. f must
// not wait for Redis. SetUnserved must come before the first job.
func (h *Hub) SetUnserved(f func(queue string) bool) { h.unserved = f }

// Unserved reports whether no worker serves the queue, as far as known.
func (h *Hub) Unserved(queue string) bool { return h.unserved(queue) }

// Channel is the reply channel that jobs of this pool name.
func (h *Hub) Channel() string { return h.channel }

// Track starts waiting for a job. When a job of this ID is tracked already, that
// one is returned instead.
func (h *Hub) Track(j *Job) (*Job, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if known, ok := h.jobs[j.ID]; ok {
		return known, nil
	}
	j.hub = h
	j.heard = time.Now()
	h.jobs[j.ID] = j
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
	h.log.Error("giving up on a job", "job", j.ID, "task", j.Task, "error", err)
}

// Outstanding returns the jobs that are not settled.
func (h *Hub) Outstanding() []*Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	js := make([]*Job, 0, len(h.jobs))
	for _, j := range h.jobs {
		js = append(js, j)
	}
	return js
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
	return until(ctx, h.callbacks.wait())
}

// InCallback reports whether it is called by a callback, while one of the hub's runs:
// what waits for these then would wait for itself.
func (h *Hub) InCallback() bool {
	return h.callbacks.busy() && inCallback()
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
	for _, j := range h.Outstanding() {
		j.fail(err)
	}
	h.stop()
	h.sub.close()
	h.finished.Wait()
}

// settled is told by a job, once, that it is settled.
func (h *Hub) settled(j *Job, callbacks []func()) {
	if h.observe != nil {
		h.observe(j)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.jobs, j.ID)
	delete(h.dirty, j)
	if len(h.jobs) == 0 {
		h.polls = nil // or they would keep what is here of the jobs until there is another one
	}
	h.giveBack(j.borrowed)
	if j.expiry != nil {
		j.expiry.Stop()
	}
	// In this order, so that who sees the job done finds it no longer outstanding,
	// and who sees nothing outstanding finds the callbacks queued.
	close(j.over)
	if len(callbacks) == 0 {
		close(j.done)
	} else {
		h.callbacks.push(j.ID, append(callbacks, func() { close(j.done) })...)
	}
	if len(h.jobs) == 0 && h.drained != nil {
		close(h.drained)
		h.drained = nil
	}
}

// notice takes in one message of the subscription.
func (h *Hub) notice(payload string) {
	n, err := record.ParseNotice(payload)
	if err != nil {
		h.log.Error("ignoring a notice", "error", err)
		return
	}
	h.mu.Lock()
	j, ok := h.jobs[n.Job.ID]
	h.mu.Unlock()
	if !ok || j.Gen != n.Job.Gen {
		return // another pool's job on a borrowed channel, or one that is settled
	}
	if n.State == record.Untrusted || n.State == record.Missing || n.State == record.Corrupt || n.What == record.NoticeOut && j.Open != nil && !h.openNotice(j, &n) {
		h.reread(j) // it says why
		return
	}
	counts := Counts{State: n.State, Recorded: n.Recorded, Done: n.Done, Failed: n.Failed, Running: n.Running}
	var outcome []byte
	if n.What == record.NoticeOut {
		outcome = n.Outcome
	}
	missing := j.hear(counts, n.Chunk, outcome)
	if !missing {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.What == record.NoticeRec {
		ref := chunkRef{job: j, chunk: n.Chunk}
		if record.IsReference(n.Outcome) {
			ref.large = n.Outcome
		}
		h.wanted = append(h.wanted, ref)
		h.kick()
	}
	if n.State.Ended() {
		// This was the last notice. What is not on its way already was missed.
		h.markDirty(j)
	}
}

// resync reads every job: the subscription is new, notices may have been missed.
func (h *Hub) resync() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.jobs {
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

// Cancel ends the job in Redis, and then here.
func (h *Hub) Cancel(ctx context.Context, j *Job) error {
	if j.Settled() {
		return nil
	}
	state, err := record.Cancel(ctx, h.rdb, j.ID, "canceled by a handle")
	if err != nil {
		return fmt.Errorf("canceling job %s: %w", j.ID, closed(err))
	}
	if state == record.Canceled {
		j.fail(ErrCanceled)
		h.clear(j, false)
		h.awaitSwept(ctx)
	}
	return nil
}

// CancelAll ends every job that is outstanding, here even when Redis could not
// be told; that error is returned.
func (h *Hub) CancelAll(ctx context.Context) error {
	const why = "the pool was terminated"
	jobs := h.Outstanding()
	tooLate := map[*Job]bool{}
	err := inBatches(jobs, readBatch, func(batch []*Job) error {
		cancels := make([]record.Queued, len(batch))
		_, _ = h.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, j := range batch {
				cancels[i] = record.CancelOp(j.ID, why).Queue(ctx, p)
			}
			return nil
		})
		var first error
		for i, cancel := range cancels {
			reply, err := cancel.Reply().Text()
			state := record.State(reply)
			if record.IsNoScript(err) {
				state, err = record.Cancel(ctx, h.rdb, batch[i].ID, why)
			}
			if state == record.Done {
				tooLate[batch[i]] = true
			}
			if first == nil {
				first = err
			}
		}
		return first
	})
	h.mu.Lock()
	for j := range tooLate { // they have their outcomes, and other handles may have shown them
		h.markDirty(j)
	}
	h.mu.Unlock()
	for _, j := range jobs {
		if !tooLate[j] {
			j.fail(ErrCanceled)
			if err == nil { // a Redis that does not answer is not asked once more
				h.clear(j, false)
			}
		}
	}
	return err
}
