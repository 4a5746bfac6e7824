package submit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/recent"
)

// Outgoing is a job on its way to Redis: its record is created with the first chunks, and gets
// the others later.
type Outgoing struct {
	Pool    *Pool
	Task    Task
	Options *Options
	Ref     job.Ref
	Lane    string
	Total   int    // of its calls, as signatures say it; UnknownTotal of a stream
	Policy  string // encoded
	sum     string // of a chosen name: the digest of what is submitted,
	cut     string // and the rule by which it is cut
}

// ID is the address of the job.
func (o *Outgoing) ID() string {
	return names.Address{Queue: o.Options.Queue, Name: o.Ref.Name}.String()
}

// describe describes the job with so many calls and chunks. An open one will have more.
func (o *Outgoing) describe(j *job.Job, about *job.About, calls, chunks int, open bool) {
	j.Ref, j.Pool, j.Calls, j.Chunks, j.Open = o.Ref, o.Pool.Hub.Pool, calls, chunks, open
	j.Life, j.TTL, j.Within = o.Pool.JobTTL+o.Options.delay(), o.Options.TTL, o.Options.within()
	about.Task, about.Codec, about.Policy, about.Sum, about.Cut = o.Task.Name(), o.Task.Codec().Name(), o.Policy, o.sum, o.cut
	if o.Options.headers != "" {
		about.Headers = json.RawMessage(o.Options.headers)
	}
	if !o.Options.Start.IsZero() {
		about.Start = o.Options.Start.UnixMilli()
	}
}

// Entry makes the entry that creates the job with these chunks, its first ones, or that adds
// them to it: it has so many calls and chunks then, and more to come if it is open. The chunks
// are protected, and what is large of them is stored.
func (o *Outgoing) Entry(ctx context.Context, calls, chunks int, open bool, batch []job.Chunk, first bool) (entry job.Submission, large bool, err error) {
	entry = job.New(job.Job{}, batch)
	var about job.About
	o.describe(&entry.Job, &about, calls, chunks, open)
	if err := o.protect(&entry.Job, &about, batch, first); err != nil {
		return entry, false, err
	}
	if large, err = o.store(ctx, batch); err != nil {
		return entry, false, err
	}
	if first {
		entry.About, err = about.Encode()
		return entry, large, err
	}
	renewed := time.Duration(0)
	if o.Total == UnknownTotal {
		renewed = o.Pool.JobTTL
	}
	return job.Add(o.Ref, calls, chunks, !open, renewed, batch), large, nil
}

// Put sends the entry.
func (o *Outgoing) Put(ctx context.Context, entry job.Submission) (job.State, error) {
	return o.Pool.put(ctx, o.Lane, entry)
}

// store gives chunks their first deliveries, and puts those of their arguments apart that are
// large. It reports whether there were such.
func (o *Outgoing) store(ctx context.Context, batch []job.Chunk) (large bool, err error) {
	start := o.Options.Start
	if !start.IsZero() {
		// asynq counts in seconds: never start early for that.
		start = start.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	}
	var stores redis.Pipeliner // one pipeline for all: most submissions have none
	for i := range batch {
		if len(batch[i].Args) >= job.LargeFrame {
			if stores == nil {
				stores = o.Pool.Redis.Pipeline()
			}
			batch[i].Args = job.QueueStore(ctx, stores, o.Lane, o.Ref.Name, batch[i].Args)
		}
		batch[i].Deliver(o.Lane, o.Task.Name(), o.Ref, start)
	}
	if stores == nil {
		return false, nil
	}
	if _, err := stores.Exec(ctx); err != nil {
		return true, fmt.Errorf("storing large arguments: %w", err)
	}
	return true, nil
}

// Note lists the job, which is in Redis now.
func (o *Outgoing) Note(single bool) {
	o.Pool.listing.Note(recent.Listed{ID: o.ID(), Task: o.Task.Name(), Queue: o.Options.Queue, Single: single})
}

// Place picks the lane of a new job, in which the pool listens from now on.
func (o *Outgoing) Place(ctx context.Context) (err error) {
	if o.Lane, err = o.Pool.router.Lane(ctx, o.Options.Queue, o.Ref.Name); err == nil {
		o.Pool.Hub.Listen(ctx, o.Lane)
	}
	return err
}

// Track has the pool wait for the job, which is about to be created.
func (o *Outgoing) Track(j *await.Job) error {
	j.Origin = o.Options.Origin
	_, err := o.Pool.Hub.Track(o.Pool.opens(o.Task, j)) // no other job has a name that was just drawn
	return err
}

// Accepted is the error of a submission that was not made; nil if the job grew. A name that was
// drawn exists if the entry was sent twice.
func Accepted(state job.State) error {
	switch state {
	case job.Open, job.Sealed, job.Done, job.Exists:
		return nil
	case job.Unstored:
		return fmt.Errorf("%w: large arguments were stored, and are not there; does Redis evict keys (maxmemory-policy)?", await.ErrExpired)
	case job.Gone, job.Gap:
		return fmt.Errorf("%w: it was forgotten, or Redis has lost a part of it", await.ErrExpired)
	case job.Canceled:
		return await.ErrCanceled
	}
	return fmt.Errorf("%w: submitting is answered with %q", await.ErrCorrupt, state)
}
