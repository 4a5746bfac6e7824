package submit

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
)

const (
	// nameEvery is how often asynq is told of the lanes of a queue that is in use: a Redis that has come
	// back empty would not know them any more, and operators could not pause them.
	nameEvery = 5 * time.Second
	// spentGather is how long records that go wait for others. At full rate a round trip for each few of
	// them takes a twentieth of the producer's processor time.
	spentGather = 10 * time.Millisecond
	// removeTime bounds the removal of records at the end of a pool: what stays goes with its time to live.
	removeTime = time.Second
)

// batch sets the batches up.
func (p *Pool) batch() {
	p.entries.Send = func(ctx context.Context, lane string, entries []job.Submission) ([]job.State, error) {
		return job.Submit(ctx, p.Redis, lane, entries)
	}
	p.entries.Size = job.Submission.Size
	p.spent.Send, p.spent.Gather = p.remove, spentGather
	p.spent.Size = func(*await.Job) int { return 0 }
}

// put makes one entry of a submission.
func (p *Pool) put(ctx context.Context, lane string, entry job.Submission) (job.State, error) {
	if err := p.name(ctx, job.QueueOf(lane)); err != nil {
		return "", err
	}
	return p.entries.Do(ctx, lane, entry)
}

// name tells asynq of the lanes of a queue: its tools list queues that they know.
func (p *Pool) name(ctx context.Context, of string) error {
	p.mu.Lock()
	last, known := p.named[of]
	if known && time.Since(last) < nameEvery {
		p.mu.Unlock()
		return nil
	}
	p.named[of] = time.Now()
	p.mu.Unlock()
	lanes, err := p.router.Lanes(ctx, of)
	if err != nil {
		return err
	}
	if err := p.Redis.SAdd(ctx, asynqfmt.QueuesKey, lanes).Err(); err != nil && redis.HasErrorPrefix(err, "NOPERM") {
		return fmt.Errorf("naming queue %q to asynq: %w", of, err)
	}
	return nil // in a Cluster the node of that key may be away alone, and operators can wait
}

// Dispose removes the record of a job, of which the only caller has every value. It does not wait: a
// record that stays goes with its time to live.
func (p *Pool) Dispose(spent *await.Job) {
	p.spent.Go(spent.Lane, spent, func(removed, error) {})
}

// removed is what is answered when a record has gone.
type removed struct{}

// remove removes the records of jobs of one lane that are over.
func (p *Pool) remove(ctx context.Context, lane string, spent []*await.Job) ([]removed, error) {
	var names []string
	for _, s := range spent {
		if !s.Large.Load() && s.Counts().Chunks <= job.ManyChunks {
			names = append(names, s.Ref.Name)
		} else if _, err := job.Forget(ctx, p.Redis, lane, s.Ref); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return make([]removed, len(spent)), nil
	}
	return make([]removed, len(spent)), job.Remove(ctx, p.Redis, lane, names...)
}

// stopRemoving removes what is left to remove.
func (p *Pool) stopRemoving() {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	_ = until(ctx, p.spent.SettleAll)
}
