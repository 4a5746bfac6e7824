package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/queue"
)

// jobs sends what the pool submits. It is safe for concurrent use.
type jobs struct {
	rdb    redis.UniversalClient
	router *job.Router
	batch  queue.Batch[job.Submission, job.State]
	spent  queue.Batch[*await.Job, removed] // their records go

	mu    sync.Mutex
	named map[string]time.Time // queues: when asynq was told of them last
}

func newJobs(rdb redis.UniversalClient) *jobs {
	j := &jobs{rdb: rdb, router: job.NewRouter(rdb), named: map[string]time.Time{}}
	j.batch.Send = func(ctx context.Context, lane string, entries []job.Submission) ([]job.State, error) {
		return job.Submit(ctx, rdb, lane, entries)
	}
	j.batch.Size = job.Submission.Size
	j.spent.Send, j.spent.Gather = j.remove, spentGather
	j.spent.Size = func(*await.Job) int { return 0 }
	return j
}

// spentGather is how long records that go wait for others. At full rate a round trip for each few of
// them takes a twentieth of the producer's processor time.
const spentGather = 10 * time.Millisecond

// stop removes what is left to remove. Redis has a second for it: what stays goes with its time to live.
func (j *jobs) stop() {
	settled := make(chan struct{})
	go func() {
		j.spent.SettleAll()
		close(settled)
	}()
	select {
	case <-settled:
	case <-time.After(time.Second):
	}
}

// removed is what is answered when a record has gone.
type removed struct{}

// remove removes the records of jobs of one lane that are over.
func (j *jobs) remove(ctx context.Context, lane string, spent []*await.Job) ([]removed, error) {
	var names []string
	for _, s := range spent {
		if !s.Large() && s.Counts().Chunks <= job.ManyChunks {
			names = append(names, s.Ref.Name)
		} else if _, err := job.Forget(ctx, j.rdb, lane, s.Ref); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return make([]removed, len(spent)), nil
	}
	return make([]removed, len(spent)), job.Remove(ctx, j.rdb, lane, names...)
}

// dispose removes the record of a job, of which the only caller has every value. It does not wait: a
// record that stays goes with its time to live.
func (j *jobs) dispose(spent *await.Job) {
	j.spent.Go(spent.Lane, spent, func(removed, error) {})
}

// nameEvery is how often asynq is told of the lanes of a queue that is in use: a Redis that has come
// back empty would not know them any more, and operators could not pause them.
const nameEvery = 5 * time.Second

// put makes one entry of a submission.
func (j *jobs) put(ctx context.Context, lane string, entry job.Submission) (job.State, error) {
	if err := j.name(ctx, job.QueueOf(lane)); err != nil {
		return "", err
	}
	return j.batch.Do(ctx, lane, entry)
}

// answered waits until what was sent to the lane before has its answer.
func (j *jobs) answered(lane string) { j.batch.Settle(lane) }

// name tells asynq of the lanes of a queue: its tools list queues that they know.
func (j *jobs) name(ctx context.Context, of string) error {
	j.mu.Lock()
	last, known := j.named[of]
	if known && time.Since(last) < nameEvery {
		j.mu.Unlock()
		return nil
	}
	j.named[of] = time.Now()
	j.mu.Unlock()
	lanes, err := j.router.Lanes(ctx, of)
	if err != nil {
		return err
	}
	names := make([]any, len(lanes))
	for i, lane := range lanes {
		names[i] = lane
	}
	if err := j.rdb.SAdd(ctx, asynqfmt.QueuesKey, names...).Err(); err != nil && redis.HasErrorPrefix(err, "NOPERM") {
		return fmt.Errorf("naming queue %q to asynq: %w", of, err)
	}
	return nil // in a Cluster the node of that key may be away alone, and operators can wait
}

// accepted is the error of a submission that was not made; nil if the job grew. A name that was
// drawn exists if the entry was sent twice.
func accepted(state job.State) error {
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

// description is what is known of a job when it is created.
type description struct {
	job.Job
	About job.About
}

// entry is the submission that creates the job.
func (d description) entry(ref job.Ref, chunks []job.Chunk) (job.Submission, error) {
	about, err := d.About.Encode()
	if err != nil {
		return job.Submission{}, err
	}
	created := d.Job
	created.Ref, created.About = ref, about
	return job.New(created, chunks), nil
}

// describe describes a job of the task, but for its calls.
func (p *pool) describe(t erasedTask, o *options) description {
	d := description{
		Job:   job.Job{Pool: p.hub.Pool, Life: p.cfg.JobTTL, TTL: o.ttl},
		About: job.About{Task: t.Name(), Codec: t.Codec().Name(), Policy: o.policy.Over(t.Policy()).Encode()},
	}
	if o.headers != "" {
		d.About.Headers = json.RawMessage(o.headers)
	}
	return d
}

// lane is the lane of a new job, in which the pool listens from now on.
func (p *pool) lane(ctx context.Context, of, name string) (string, error) {
	lane, err := p.router.Lane(ctx, of, name)
	if err == nil {
		p.hub.Listen(ctx, lane)
	}
	return lane, err
}

// store gives chunks their first deliveries, and puts those of their arguments apart that are
// large. It reports whether there were such.
func (p *pool) store(ctx context.Context, lane, task string, ref job.Ref, start time.Time, batch []job.Chunk) (large bool, err error) {
	if !start.IsZero() {
		// asynq counts in seconds: never start early for that.
		start = start.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	}
	for i := range batch {
		d := job.Delivery{Ref: ref, Chunk: batch[i].Number, Number: 1}
		if batch[i].Args, err = job.Store(ctx, p.rdb, lane, ref.Name, batch[i].Args); err != nil {
			return large, fmt.Errorf("storing large arguments: %w", err)
		}
		large = large || job.IsReference(batch[i].Args)
		batch[i].TaskID, batch[i].Due = d.TaskID(), start
		batch[i].Message = job.Message(lane, task, d, "", time.Time{})
	}
	return large, nil
}
