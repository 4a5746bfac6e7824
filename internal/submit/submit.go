package submit

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
)

// Submit puts a job of n calls into Redis, in as few round trips as its size
// allows, and returns it, tracked.
func (p *Pool) Submit(ctx context.Context, t Task, o *Options, n int, encode Encoder) (submitted *await.Job, err error) {
	left, err := p.Enter()
	if err != nil {
		return nil, err
	}
	defer left()
	s := new(submission)
	s.Pool, s.Task, s.Options, s.Total = p, t, o, n
	if err = s.setPolicy(); err == nil {
		watched, end := p.Watch(ctx, t, o)
		defer func() { end(submitted, err) }()
		submitted, err = s.run(watched, encode)
	}
	if err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	return submitted, nil
}

// setPolicy gives the job its limits: those of the task, and over them its own.
func (s *submission) setPolicy() error {
	policy := s.Options.Policy.Over(s.Task.Policy())
	s.Policy = policy.Encode()
	return policy.CheckLimits()
}

// run cuts the job and sends it.
func (s *submission) run(ctx context.Context, encode Encoder) (submitted *await.Job, err error) {
	p, o, c := s.Pool, s.Options, &s.cutter
	if err := p.inline.Submitting(ctx); err != nil {
		return nil, err
	}
	c.Encode, c.Calls, c.Size, c.Exact, c.MaxArgument, c.Task = encode, s.Total, o.ChunkSize, o.ChunkSize > 0, p.MaxArgument, s.Task.Name()
	if !c.Exact {
		if c.Size, err = p.automaticSize(ctx, o.Queue, s.Total); err != nil {
			return nil, fmt.Errorf("counting the workers' slots: %w", err)
		}
	}
	if o.Key == "" {
		s.Ref.Name = rand.Text()
		submitted, err = s.send(ctx)
	} else {
		submitted, err = s.sendOnce(ctx)
	}
	if err = ended(err); job.IsTooLarge(err) {
		err = fmt.Errorf("refused by Redis for the size of a request: %w; pass a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", err)
	}
	if err == nil {
		p.inline.Submitted(ctx, submitted.Over())
	}
	return submitted, err
}

// automaticSize is Python's rule, with the slots of the whole fleet.
func (p *Pool) automaticSize(ctx context.Context, queue string, n int) (int, error) {
	slots, err := p.Slots(ctx, queue)
	return max(1, (n+4*slots-1)/(4*slots)), err
}

// submission is a job whose calls are known, on its way to Redis.
type submission struct {
	Outgoing
	cutter Cutter
	job    *await.Job // of a drawn name: once it is about to be created
	chunks int        // cut so far
	digest string     // of a chosen name: of what is submitted; sum is its fingerprint
}

// send sends a job of a drawn name.
func (s *submission) send(ctx context.Context) (*await.Job, error) {
	if _, err := s.sendFrom(ctx, 0); err != nil {
		s.giveUp(ctx, err)
		return nil, err
	}
	if within := s.Options.within(); within > 0 {
		s.Pool.Hub.Expire(s.job, within)
	}
	s.startInTime(s.job, s.chunks)
	return s.job, nil
}

// sendFrom cuts all chunks of the job, and sends those that it lacks: it has so many already.
// With none of them it is created. The state is the answer to the last round trip.
func (s *submission) sendFrom(ctx context.Context, has int) (job.State, error) {
	named := s.Options.Key != ""
	for s.chunks = 0; ; {
		batch, err := s.cutter.Next(s.chunks)
		if err != nil {
			return "", err
		}
		first, total, all := has == 0 && s.chunks == 0, s.chunks+len(batch), s.cutter.Done()
		if total <= has && !all {
			s.chunks = total
			continue
		}
		state, err := s.sendBatch(ctx, batch, total, first)
		if err != nil || named && first && state == job.Exists {
			return state, err
		}
		s.chunks = total
		if first {
			s.Note(all && total == 1)
		}
		if s.job != nil {
			s.told(all)
		}
		if all || named && state != job.Open { // complete, by us or by another submitter
			return state, nil
		}
	}
}

// told notes that Redis has the chunks of the job, and whether these are all.
func (s *submission) told(all bool) {
	s.job.Grow(s.Total, s.chunks, all)
	s.job.MarkSubmitted()
	if s.Total == 0 {
		s.job.MarkEmpty() // no recording will announce the end of nothing
	}
}

// sendBatch sends chunks and their deliveries. The first ones create the job.
func (s *submission) sendBatch(ctx context.Context, batch []job.Chunk, total int, first bool) (job.State, error) {
	named, all := s.Options.Key != "", s.cutter.Done()
	if first && !named {
		if err := s.Place(ctx); err != nil {
			return "", err
		}
		tracked := await.NewJob(s.Lane, s.Ref, s.Task.Name(), s.Total, total, all)
		if err := s.Track(tracked); err != nil {
			return "", err
		}
		s.job = tracked
	}
	entry, large, err := s.Entry(ctx, s.Total, total, !all, batch, first)
	if err != nil {
		return "", err
	}
	if large && !named {
		s.job.Large.Store(true)
	}
	state, err := s.Put(ctx, entry)
	if err != nil {
		return "", err
	}
	if large && named && (!first || state == job.Exists) {
		// Another submitter of the job may have been first. What is the job's stays.
		for _, c := range batch {
			_ = job.Discard(ctx, s.Pool.Redis, s.Lane, s.Ref.Name, c.Args) // otherwise it goes by itself
		}
	}
	switch {
	case named && state == job.Gone:
		return state, errVanished
	case named && state == job.Canceled:
		return state, nil // attaching says so
	}
	return state, Accepted(state)
}

// startAtOnce is how many deliveries one script starts.
const startAtOnce = 100

// startInTime starts a delayed job at its time, as long as the pool is open. Without that it
// starts too, when a worker looks for delayed deliveries.
func (s *submission) startInTime(j *await.Job, chunks int) {
	if s.Options.Start.IsZero() {
		return
	}
	rdb := s.Pool.Redis
	s.Pool.Hub.AtStart(j, s.Options.delay(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ids := make([]string, chunks)
		for i := range ids {
			ids[i] = job.Delivery{Ref: j.Ref, Chunk: i, Number: 1}.TaskID()
		}
		for some := range slices.Chunk(ids, startAtOnce) {
			if _, err := job.Start(ctx, rdb, j.Lane, time.Now(), some...); err != nil {
				return // this is a favour: workers start them too
			}
		}
	})
}

// giveUp removes what has been sent of a job that will not be complete.
func (s *submission) giveUp(ctx context.Context, err error) {
	if s.job == nil {
		return
	}
	s.job.Fail(err)
	ctx = context.WithoutCancel(ctx)
	s.Pool.submitting.Go(func() {
		// In the background: the caller has waited long enough for a Redis that does
		// not answer. What is left after a failure here goes with its time to live.
		s.Pool.answered(s.Lane)
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := job.Forget(ctx, s.Pool.Redis, s.Lane, s.Ref); err != nil {
			return
		}
		// Of the last batch it is not known whether it is there.
		unwanted := job.Unwanted{Ref: s.Ref, Chunks: make([]int, s.chunks+batchChunks)}
		for i := range unwanted.Chunks {
			unwanted.Chunks[i] = i
		}
		s.Pool.sweeper.add(leftover{lane: s.Lane, job: unwanted})
	})
}
