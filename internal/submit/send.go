package submit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/recent"
)

// UnknownTotal says that the number of a job's calls is not known when its chunks are sent, as of a
// stream: it is not signed.
const UnknownTotal = -1

// Outgoing is a job on its way to Redis: its record is created with the first chunks, and gets
// the others later.
type Outgoing struct {
	Pool    *Pool
	Task    Task
	Options *Options
	Cutter  Cutter
	Total   int // of its calls; UnknownTotal of a stream
	About   job.About
	Ref     job.Ref
	Lane    string
	Job     *await.Job // of a drawn name: once it is about to be created
	Chunks  int        // that were sent
	Sealed  bool       // these are all

	// Retry, if set, sends what comes behind the first chunks. It may try again.
	Retry func(try func() (job.State, error)) (job.State, error)

	created bool
	digest  string // of a chosen name: of what is submitted; About.Sum is its fingerprint
}

// NewOutgoing makes a job of so many calls. It refuses one whose time limits contradict each other.
func (p *Pool) NewOutgoing(t Task, o *Options, total int) (*Outgoing, error) {
	policy := o.Policy.Over(t.Policy())
	if err := policy.CheckLimits(); err != nil {
		return nil, err
	}
	policy.Stream = total == UnknownTotal
	out := &Outgoing{
		Pool: p, Task: t, Options: o, Total: total, Ref: job.Ref{Name: cmp.Or(o.Key, rand.Text())},
		Cutter: Cutter{Task: t.Name(), Size: o.ChunkSize, Exact: o.ChunkSize > 0, MaxArgument: p.MaxArgument},
		About:  job.About{Task: t.Name(), Codec: t.Codec().Name(), Policy: policy.Encode()},
	}
	if !o.Start.IsZero() {
		out.About.Start = o.Start.UnixMilli()
	}
	return out, nil
}

// ID is the address of the job.
func (o *Outgoing) ID() string {
	return names.Address{Queue: o.Options.Queue, Name: o.Ref.Name}.String()
}

// named reports whether the caller chose the job's name.
func (o *Outgoing) named() bool { return o.Options.Key != "" }

// Send sends chunks with their deliveries; the first ones create the job. It has so many calls then,
// and more to come if it is open. It answers the state of the job: if that is Exists, another job has
// the name that the caller chose.
func (o *Outgoing) Send(ctx context.Context, calls int, batch []job.Chunk, open bool) (state job.State, err error) {
	first, chunks := !o.created, o.Chunks+len(batch)
	if first && !o.named() {
		if err := o.track(ctx, calls, chunks, open); err != nil {
			return "", err
		}
	}
	if o.Total == UnknownTotal {
		o.Job.Expect(o.Chunks, len(batch))
	}
	entry, err := o.entry(ctx, calls, chunks, open, batch)
	if err != nil {
		return "", err
	}
	renews := !first && len(batch) == 0 && open != o.Sealed
	if o.Retry == nil || first {
		state, err = o.put(ctx, entry, batch)
	} else {
		state, err = o.Retry(func() (job.State, error) { return o.put(ctx, entry, batch) })
	}
	taken := first && o.named() && state == job.Exists
	if o.named() && state != "" && (!first || taken) {
		// Another submitter of the job may have been first. What is the job's stays.
		for _, c := range batch {
			_ = job.Discard(ctx, o.Pool.Redis, o.Lane, o.Ref.Name, c.Args) // otherwise it goes by itself
		}
	}
	// Renewing the record is no news of the job: the hub asks for it after a while without any, and
	// would never if this counted.
	if err != nil || taken || renews {
		return state, err
	}
	if first {
		o.Pool.listing.Note(recent.Listed{ID: o.ID(), Task: o.Task.Name(), Queue: o.Options.Queue, Single: !open && chunks == 1})
	}
	o.created, o.Chunks, o.Sealed = true, chunks, !open
	if o.Job != nil {
		o.Job.Submitted(calls, chunks, !open)
	}
	return state, nil
}

// put sends the entry with these chunks.
func (o *Outgoing) put(ctx context.Context, entry job.Submission, batch []job.Chunk) (job.State, error) {
	state, err := o.Pool.put(ctx, o.Lane, entry)
	if err == nil && !(len(batch) == 0 && state == job.Gone) { // the hub finds out what became of it
		err = o.accepted(state)
	}
	return state, err
}

// track picks the lane of a new job, and has the pool wait for the job, which is about to be created.
func (o *Outgoing) track(ctx context.Context, calls, chunks int, open bool) (err error) {
	if o.Lane, err = o.Pool.router.Lane(ctx, o.Options.Queue, o.Ref.Name); err != nil {
		return err
	}
	o.Pool.Hub.Listen(ctx, o.Lane)
	var j *await.Job
	if o.Total == UnknownTotal {
		j = await.NewStream(o.Lane, o.Ref.Name, o.Task.Name())
	} else {
		j = await.NewJob(o.Lane, o.Ref, o.Task.Name(), calls, chunks, !open)
	}
	o.Pool.opens(o.Task, j)
	j.Origin = o.Options.Origin
	if _, err := o.Pool.Hub.Track(j); err != nil { // no other job has a name that was just drawn
		return err
	}
	o.Job = j
	return nil
}

// entry makes the entry that creates the job with these chunks, or that adds them to it. The chunks are
// protected, and what is large of them is stored.
func (o *Outgoing) entry(ctx context.Context, calls, chunks int, open bool, batch []job.Chunk) (entry job.Submission, err error) {
	life := o.Pool.JobTTL + o.Options.delay()
	if err := o.protect(life, batch); err != nil {
		return entry, err
	}
	if err := o.store(ctx, batch); err != nil {
		return entry, err
	}
	if o.created {
		if o.Total != UnknownTotal {
			life = 0 // it is as it was created
		}
		return job.Add(o.Ref, calls, chunks, !open, life, batch), nil
	}
	entry = job.New(job.Job{}, batch)
	entry.Ref, entry.Pool, entry.Calls, entry.Chunks, entry.Open = o.Ref, o.Pool.Hub.Pool, calls, chunks, open
	entry.Life, entry.TTL, entry.Within = life, o.Options.TTL, o.Options.within()
	entry.About, err = o.About.Encode()
	return entry, err
}

// store gives chunks their first deliveries, and puts those of their arguments apart that are large.
func (o *Outgoing) store(ctx context.Context, batch []job.Chunk) error {
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
		return nil
	}
	if o.Job != nil {
		o.Job.Large.Store(true)
	}
	if _, err := stores.Exec(ctx); err != nil {
		return fmt.Errorf("storing large arguments: %w", err)
	}
	return nil
}

// errVanished says that the record of a chosen name has disappeared.
var errVanished = errors.New("the record has disappeared")

// accepted is the error of a submission that was not made; nil if the job grew. A name that was
// drawn exists if the entry was sent twice.
func (o *Outgoing) accepted(state job.State) error {
	switch state {
	case job.Open, job.Sealed, job.Done, job.Exists:
		return nil
	case job.Unstored:
		return fmt.Errorf("%w: large arguments were stored, and are not there; does Redis evict keys (maxmemory-policy)?", await.ErrExpired)
	case job.Canceled:
		if o.named() {
			return nil // attaching says so
		}
		return await.ErrCanceled
	case job.Gone, job.Gap:
		if o.named() && state == job.Gone {
			return errVanished
		}
		return fmt.Errorf("%w: it was forgotten, or Redis has lost a part of it", await.ErrExpired)
	}
	return fmt.Errorf("%w: submitting is answered with %q", await.ErrCorrupt, state)
}
