package submit

import (
	"context"
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
	out, err := p.NewOutgoing(t, o, n)
	if err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	ctx, end := out.Watch(ctx)
	defer func() { end(submitted, err) }()
	if err := p.inline.Submitting(ctx); err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	out.Cutter.Encode, out.Cutter.Calls = encode, n
	if o.ChunkSize == 0 {
		if out.Cutter.Size, err = p.automaticSize(ctx, o.Queue, n); err != nil {
			return nil, fmt.Errorf("submitting %q: counting the workers' slots: %w", t.Name(), err)
		}
	}
	if out.named() {
		submitted, err = out.sendOnce(ctx)
	} else {
		submitted, err = out.send(ctx)
	}
	if err = ended(err); job.IsTooLarge(err) {
		err = fmt.Errorf("refused by Redis for the size of a request: %w; pass a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", err)
	}
	if err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	p.inline.Submitted(ctx, submitted.Over())
	return submitted, nil
}

// automaticSize is Python's rule, with the slots of the whole fleet.
func (p *Pool) automaticSize(ctx context.Context, queue string, n int) (int, error) {
	slots, err := p.Slots(ctx, queue)
	return max(1, (n+4*slots-1)/(4*slots)), err
}

// send sends a job of a drawn name.
func (o *Outgoing) send(ctx context.Context) (*await.Job, error) {
	if _, err := o.sendFrom(ctx, 0); err != nil {
		o.giveUp(ctx, err)
		return nil, err
	}
	if within := o.Options.within(); within > 0 {
		o.Pool.Hub.Expire(o.Job, within)
	}
	o.startInTime(o.Job)
	return o.Job, nil
}

// sendFrom cuts all chunks of the job, and sends those that it lacks: it has so many already. The
// state is the answer to the last round trip.
func (o *Outgoing) sendFrom(ctx context.Context, has int) (job.State, error) {
	for {
		batch, err := o.Cutter.Next(o.Chunks)
		if err != nil {
			return "", err
		}
		all := o.Cutter.Done()
		if o.Chunks+len(batch) <= has && !all {
			o.Chunks += len(batch)
			continue
		}
		state, err := o.Send(ctx, o.Total, batch, !all)
		if err != nil || all || o.named() && state != job.Open { // complete, by us or by another submitter
			return state, err
		}
	}
}

// startAtOnce is how many deliveries one script starts.
const startAtOnce = 100

// startInTime starts a delayed job at its time, as long as the pool is open. Without that it
// starts too, when a worker looks for delayed deliveries.
func (o *Outgoing) startInTime(j *await.Job) {
	if o.Options.Start.IsZero() {
		return
	}
	rdb := o.Pool.Redis
	o.Pool.Hub.AtStart(j, o.Options.delay(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ids := make([]string, j.Counts().Chunks)
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
func (o *Outgoing) giveUp(ctx context.Context, err error) {
	if o.Job == nil {
		return
	}
	o.Job.Fail(err)
	ctx = context.WithoutCancel(ctx)
	o.Pool.submitting.Go(func() {
		// In the background: the caller has waited long enough for a Redis that does
		// not answer. What is left after a failure here goes with its time to live.
		o.Pool.entries.Settle(o.Lane)
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := job.Forget(ctx, o.Pool.Redis, o.Lane, o.Ref); err != nil {
			return
		}
		// Of the last batch it is not known whether it is there.
		unwanted := job.Unwanted{Ref: o.Ref, Chunks: make([]int, o.Chunks+batchChunks)}
		for i := range unwanted.Chunks {
			unwanted.Chunks[i] = i
		}
		o.Pool.sweeper.add(leftover{lane: o.Lane, job: unwanted})
	})
}
