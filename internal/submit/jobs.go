package submit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/queue"
)

// jobs sends what the pool submits. It is safe for concurrent use.
type jobs struct {
	rdb    redis.UniversalClient
	router *lanes.Router
	batch  queue.Batch[job.Submission, job.State]
	spent  queue.Batch[*await.Job, removed] // their records go

	mu    sync.Mutex
	named map[string]time.Time // queues: when asynq was told of them last
}

func newJobs(rdb redis.UniversalClient) *jobs {
	j := &jobs{rdb: rdb, router: lanes.NewRouter(rdb), named: map[string]time.Time{}}
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
		if !s.Large.Load() && s.Counts().Chunks <= job.ManyChunks {
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

// Dispose removes the record of a job, of which the only caller has every value. It does not wait: a
// record that stays goes with its time to live.
func (j *jobs) Dispose(spent *await.Job) {
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
	all, err := j.router.Lanes(ctx, of)
	if err != nil {
		return err
	}
	names := make([]any, len(all))
	for i, lane := range all {
		names[i] = lane
	}
	if err := j.rdb.SAdd(ctx, asynqfmt.QueuesKey, names...).Err(); err != nil && redis.HasErrorPrefix(err, "NOPERM") {
		return fmt.Errorf("naming queue %q to asynq: %w", of, err)
	}
	return nil // in a Cluster the node of that key may be away alone, and operators can wait
}
