package await

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

const (
	// readBatch bounds the commands of one pipeline, outBatch the outcomes that are
	// read at once: each of them may be as large as a chunk.
	readBatch = 500
	outBatch  = 64
	// placesAtOnce bounds the places of recordings of one job that are read at once.
	placesAtOnce = 500
)

// chunkRef is outcomes to read.
type chunkRef struct {
	job          *Job
	chunk, place int
	large        []byte // the reference to them, if that is known
}

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
		err := h.readAll(ctx)
		if err == nil {
			retry.Reset()
			continue
		}
		if ctx.Err() == nil {
			h.Log.Warn("reading results failed, will try again", "error", err)
		}
		select {
		case <-time.After(retry.NextBackOff()):
			h.kick()
		case <-ctx.Done():
		}
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
		if !h.tracks(j) {
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
			wanted, err = h.readJobs(ctx, dirty)
		}
		if err == nil {
			err = h.readOutcomes(ctx, wanted)
		}
		if err != nil {
			h.mu.Lock()
			for _, ref := range wanted {
				h.dirty[ref.job] = true
			}
			maps.Copy(h.dirty, dirty)
			h.mu.Unlock()
			return err
		}
	}
}

// inPipelines asks about items, in pipelines of n at the most. ask adds a command, and returns what
// takes the reply.
func inPipelines[T any](ctx context.Context, c redis.Cmdable, items []T, n int, ask func(redis.Pipeliner, T) (take func() error)) error {
	for some := range slices.Chunk(items, n) {
		takes := make([]func() error, len(some))
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has an error of its own
			for i, item := range some {
				takes[i] = ask(p, item)
			}
			return nil
		})
		for _, take := range takes {
			if err := take(); err != nil {
				return err
			}
		}
	}
	return nil
}

// readJobs reads the records of the jobs, and finds out which outcomes are missing.
func (h *Hub) readJobs(ctx context.Context, dirty map[*Job]bool) (refs []chunkRef, err error) {
	jobs := slices.DeleteFunc(slices.Collect(maps.Keys(dirty)), (*Job).Settled)
	var behind, waiting []*Job
	err = inPipelines(ctx, h.Redis, jobs, readBatch, func(p redis.Pipeliner, j *Job) func() error {
		existed := j.WasSubmitted() // before the read: a record that is created right after it is not gone
		read := job.QueueSnapshot(ctx, p, j.Lane, j.Ref.Name)
		return func() error {
			snap, err := read()
			if err != nil && !job.IsDamaged(err) {
				return err
			}
			if err == nil && snap.State == job.Gone && !existed {
				return nil
			}
			large := job.IsReference(snap.Out)
			if large { // the outcomes of a job of one chunk
				j.Large.Store(true)
				refs = append(refs, chunkRef{job: j, large: snap.Out})
				snap.Out = nil
			}
			switch missing := h.apply(j, snap, err); {
			case missing && !snap.Single:
				behind = append(behind, j)
			case missing && !large:
				j.miss(unlisted)
			}
			if snap.Expires > 0 {
				waiting = append(waiting, j)
			}
			return nil
		}
	})
	if err == nil {
		err = h.expire(ctx, waiting)
	}
	if err != nil {
		return nil, err
	}
	listed, err := h.readOrders(ctx, behind)
	return append(refs, listed...), err
}

// apply takes in a snapshot, and reports whether the record has outcomes that
// are missing here.
func (h *Hub) apply(j *Job, snap job.Snapshot, err error) (missing bool) {
	if err != nil {
		h.lose(j, corrupt(err))
		return false
	}
	if snap.Ref != j.Ref { // it is that of another job now
		snap = job.Snapshot{Counts: job.Counts{State: job.Gone}}
	}
	if snap.State == job.Gone && j.forgets.Load() > 0 {
		return false // see Forget
	}
	end := j.verdict(snap.State, snap.Reason)
	if errors.Is(end, ErrExpired) || errors.Is(end, ErrCorrupt) {
		h.LogCorrupt(j, end)
	}
	return h.take(j, snap.Counts, end, recorded{frame: snap.Out})
}

// take is hear for outcomes as they are in the record. It gives up a job of which they cannot be
// opened.
func (h *Hub) take(j *Job, counts job.Counts, end error, out recorded) (missing bool) {
	var err error
	if out.frame, err = j.open(out.chunk, out.frame); err != nil {
		h.lose(j, fmt.Errorf("job %s of task %q: chunk %d: %w", j.ID, j.Task, out.chunk, err))
		return false
	}
	return j.hear(counts, end, out)
}

// readOrders finds out which outcomes are missing.
func (h *Hub) readOrders(ctx context.Context, jobs []*Job) (refs []chunkRef, err error) {
	err = inPipelines(ctx, h.Redis, jobs, readBatch, func(p redis.Pipeliner, j *Job) func() error {
		places := j.missing(placesAtOnce)
		if len(places) == 0 {
			return func() error { return nil }
		}
		order := job.QueueOrder(ctx, p, j.Lane, j.Ref.Name, places)
		return func() error {
			chunks, err := order()
			if job.IsDamaged(err) {
				h.apply(j, job.Snapshot{}, err)
				return nil
			}
			if err != nil {
				return err
			}
			listed := len(refs)
			for i, chunk := range chunks {
				if chunk >= 0 && !j.saw(chunk, places[i]) { // less: it is consumed, or lost
					refs = append(refs, chunkRef{job: j, chunk: chunk, place: places[i]})
				}
			}
			switch {
			case len(refs) == listed && j.behind():
				j.miss(unlisted)
			case len(places) == placesAtOnce:
				h.reread(j) // there may be more
			}
			return nil
		}
	})
	return refs, err
}

// readOutcomes reads outcomes and hands them to their jobs.
func (h *Hub) readOutcomes(ctx context.Context, refs []chunkRef) error {
	var larges []chunkRef // found to be kept apart
	err := inPipelines(ctx, h.Redis, refs, outBatch, func(p redis.Pipeliner, ref chunkRef) func() error {
		j := ref.job
		var load func() ([]byte, error)
		if ref.large != nil {
			load = job.QueueLoad(ctx, p, j.Lane, j.Ref.Name, ref.large)
		} else {
			load = job.QueueOut(ctx, p, j.Lane, j.Ref.Name, ref.chunk)
		}
		return func() error {
			frame, err := load()
			switch {
			case ref.large == nil && job.IsReference(frame):
				j.Large.Store(true)
				ref.large = frame
				larges = append(larges, ref)
			case errors.Is(err, redis.Nil) || errors.Is(err, job.ErrFrameGone):
				// It may have come another way meanwhile, and a stream's is removed then. A job that
				// is gone has none: its record says so.
				if !j.has(ref.chunk) && !j.miss(ref.chunk) {
					h.reread(j)
				}
			case job.IsDamaged(err):
				h.apply(j, job.Snapshot{}, err)
			case err != nil:
				return err
			default:
				h.take(j, j.Counts(), nil, recorded{recording{ref.chunk, ref.place}, frame})
			}
			return nil
		}
	})
	if err != nil || len(larges) == 0 {
		return err
	}
	return h.readOutcomes(ctx, larges)
}
