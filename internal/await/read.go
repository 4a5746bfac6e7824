package await

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// Polling: each job at least this often, but no more jobs per tick than this,
// whichever is later. With a healthy subscription that is under 100 reads a
// second for any number of outstanding jobs.
const (
	tick = 100 * time.Millisecond

	healthyPoll  = 2 * time.Second
	healthyBatch = 9
	deafPoll     = 100 * time.Millisecond
	deafBatch    = 200
)

// readBatch bounds the commands of one pipeline, outBatch the outcomes that are
// read at once: each of them may be as large as a chunk.
const (
	readBatch = 500
	outBatch  = 64
)

// placesAtOnce bounds the places of recordings of one job that are read at once.
const placesAtOnce = 500

// maxMisses is how often outcomes that the record claims to have may be absent
// before they count as lost.
const maxMisses = 3

// read is the goroutine that reads what notices did not bring.
func (h *Hub) read(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = tick, 2*time.Second
	for {
		var ticks <-chan time.Time
		if h.Outstanding() > 0 {
			ticks = ticker.C
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-ticks:
			h.pollDue()
		}
		err := h.expire(ctx)
		if err == nil {
			err = h.readAll(ctx)
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			h.Log.Warn("reading results failed, will try again", "error", err)
			if !pause(ctx, retry.NextBackOff()) {
				return
			}
			h.kick()
			continue
		}
		retry.Reset()
	}
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pollDue marks the jobs dirty from which nothing was heard for too long.
func (h *Hub) pollDue() {
	every, batch := healthyPoll, healthyBatch
	if !h.sub.Healthy() {
		every, batch = deafPoll, deafBatch
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	// One round over the queue at most. Settled jobs leave it here.
	for range len(h.polls) {
		if batch == 0 {
			return
		}
		j := h.polls[0]
		h.polls[0] = nil
		h.polls = h.polls[1:]
		if h.jobs[j.address()] != j {
			continue
		}
		h.polls = append(h.polls, j)
		j.mu.Lock()
		due := j.submitted && now.Sub(j.heard) >= every
		j.mu.Unlock()
		if due {
			h.dirty[j] = true
			batch--
		}
	}
}

// readAll reads until nothing is dirty or wanted.
func (h *Hub) readAll(ctx context.Context) error {
	for {
		h.mu.Lock()
		wanted, dirty := h.wanted, h.dirty
		h.wanted, h.dirty = nil, map[*Job]bool{}
		h.mu.Unlock()
		if len(wanted) == 0 && len(dirty) == 0 {
			return nil
		}
		err := h.readOutcomes(ctx, wanted)
		if err == nil {
			err = h.readJobs(ctx, dirty)
		}
		if err != nil {
			h.mu.Lock()
			for _, ref := range wanted {
				h.dirty[ref.job] = true
			}
			for j := range dirty {
				h.dirty[j] = true
			}
			h.mu.Unlock()
			return err
		}
	}
}

// readJobs reads the records of the jobs, and the outcomes that are missing.
func (h *Hub) readJobs(ctx context.Context, dirty map[*Job]bool) error {
	jobs := make([]*Job, 0, len(dirty))
	for j := range dirty {
		if !j.Settled() {
			jobs = append(jobs, j)
		}
	}
	var behind []*Job
	var refs []chunkRef // large outcomes of jobs of one chunk
	err := inBatches(jobs, readBatch, func(batch []*Job) error {
		cmds := make([]*redis.SliceCmd, len(batch))
		// Asked before the read: a record that is created right after it is not gone.
		existed := make([]bool, len(batch))
		for i, j := range batch {
			existed[i] = j.WasSubmitted()
		}
		_, _ = h.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, j := range batch {
				cmds[i] = job.QueueSnapshot(ctx, p, j.Lane, j.Ref.Name)
			}
			return nil
		})
		for i, j := range batch {
			snap, err := job.ParseSnapshot(j.Ref.Name, cmds[i])
			if err != nil && !job.IsDamaged(err) {
				return err
			}
			if err == nil && snap.State == job.Gone && !existed[i] {
				continue
			}
			if err == nil && job.IsReference(snap.Out) {
				j.HasLarge()
				refs = append(refs, chunkRef{job: j, large: snap.Out})
			}
			if h.apply(j, snap, err) {
				behind = append(behind, j)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	listed, err := h.readOrders(ctx, behind)
	if err != nil {
		return err
	}
	return h.readOutcomes(ctx, append(refs, listed...))
}

// apply takes in a snapshot, and reports whether the record has outcomes that
// are missing here.
func (h *Hub) apply(j *Job, snap job.Snapshot, err error) bool {
	if err != nil {
		h.LogCorrupt(j, err)
		j.fail(corrupt(err))
		return false
	}
	if snap.State == job.Gone || snap.Ref != j.Ref {
		if j.isBeingForgotten() {
			return false // see Forget
		}
		h.lose(j)
		h.clear(j, false)
		return false
	}
	if snap.State == job.Missing || snap.State == job.Corrupt {
		kind := ErrExpired
		if snap.State == job.Corrupt {
			kind = ErrCorrupt
		}
		err := fmt.Errorf("job %s of task %q: %w: %s", j.ID, j.Task, kind, snap.Reason)
		h.LogCorrupt(j, err)
		j.fail(err)
		h.clear(j, false)
		return false
	}
	if snap.State == job.Untrusted {
		j.fail(fmt.Errorf("job %s of task %q: %w by a worker: %s", j.ID, j.Task, ErrUntrusted, snap.Reason))
		return false
	}
	large := job.IsReference(snap.Out)
	if large {
		snap.Out = nil // it is read apart
	}
	if snap.Out, err = j.open(0, snap.Out); err != nil {
		h.refuse(j, 0, err)
		return false
	}
	counts := Counts{
		State: snap.State, Calls: snap.Calls, Chunks: snap.Chunks,
		Recorded: snap.Recorded, Done: snap.Done, Failed: snap.Failed, Running: snap.Running,
	}
	missing := j.hear(counts, recorded{frame: snap.Out})
	if missing && snap.Single && !large {
		j.miss(unlisted)
	}
	return missing && !snap.Single
}

// readOrders finds out which outcomes are missing.
func (h *Hub) readOrders(ctx context.Context, jobs []*Job) (refs []chunkRef, err error) {
	err = inBatches(jobs, readBatch, func(batch []*Job) error {
		cmds, asked := make([]*redis.SliceCmd, len(batch)), make([][]int, len(batch))
		_, _ = h.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, j := range batch {
				if asked[i] = j.missing(placesAtOnce); len(asked[i]) > 0 {
					cmds[i] = job.QueueOrder(ctx, p, j.Lane, j.Ref.Name, asked[i])
				}
			}
			return nil
		})
		for i, j := range batch {
			if cmds[i] == nil {
				continue
			}
			chunks, err := job.ParseOrder(cmds[i])
			if err != nil && !job.IsDamaged(err) {
				return err
			}
			if err != nil {
				h.apply(j, job.Snapshot{}, err)
				continue
			}
			listed := len(refs)
			for k, chunk := range chunks {
				switch {
				case chunk < 0: // it is consumed, or lost
				case j.has(chunk):
					j.saw(asked[i][k])
				default:
					refs = append(refs, chunkRef{job: j, chunk: chunk, place: asked[i][k]})
				}
			}
			switch {
			case len(refs) == listed && j.behind():
				j.miss(unlisted)
			case len(asked[i]) == placesAtOnce:
				h.reread(j) // there may be more
			}
		}
		return nil
	})
	return refs, err
}

// readOutcomes reads outcomes and hands them to their jobs.
func (h *Hub) readOutcomes(ctx context.Context, refs []chunkRef) error {
	var larges []chunkRef // found to be kept apart
	err := inBatches(refs, outBatch, func(batch []chunkRef) error {
		reads := make([]func() ([]byte, error), len(batch))
		_, _ = h.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, ref := range batch {
				if ref.large != nil {
					reads[i] = job.QueueLoad(ctx, p, ref.job.Lane, ref.job.Ref.Name, ref.large)
					continue
				}
				cmd := job.QueueOut(ctx, p, ref.job.Lane, ref.job.Ref.Name, ref.chunk)
				reads[i] = func() ([]byte, error) { return job.ParseOut(cmd) }
			}
			return nil
		})
		for i, ref := range batch {
			frame, err := reads[i]()
			if ref.large == nil && job.IsReference(frame) {
				ref.job.HasLarge()
				ref.large = frame
				larges = append(larges, ref)
				continue
			}
			absent := errors.Is(err, redis.Nil) || errors.Is(err, job.ErrFrameGone)
			if absent && ref.job.has(ref.chunk) {
				continue // it came another way meanwhile, and a stream's is removed then
			}
			if absent {
				// A job that is gone has none: its record says so.
				if ref.job.miss(ref.chunk) {
					continue
				}
				h.mu.Lock()
				if h.jobs[ref.job.address()] == ref.job {
					h.markDirty(ref.job)
				}
				h.mu.Unlock()
				continue
			}
			if job.IsDamaged(err) {
				h.apply(ref.job, job.Snapshot{}, err)
				continue
			}
			if err != nil {
				return err
			}
			if frame, err = ref.job.open(ref.chunk, frame); err != nil {
				h.refuse(ref.job, ref.chunk, err)
				continue
			}
			ref.job.hear(ref.job.Counts(), recorded{ref.chunk, ref.place, frame})
		}
		return nil
	})
	if err != nil || len(larges) == 0 {
		return err
	}
	return h.readOutcomes(ctx, larges)
}

// inBatches calls f with at most n of the items at a time.
func inBatches[T any](items []T, n int, f func([]T) error) error {
	for len(items) > 0 {
		k := min(n, len(items))
		if err := f(items[:k]); err != nil {
			return err
		}
		items = items[k:]
	}
	return nil
}
