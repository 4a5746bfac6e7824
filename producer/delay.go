package producer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
)

// starter starts delayed jobs at their time, as long as the pool is open.
// Without it they start too, when a worker looks for delayed deliveries.
type starter struct {
	rdb redis.UniversalClient

	mu      sync.Mutex // guards all below
	stopped bool
	timers  map[*await.Job]*time.Timer
	running sync.WaitGroup
}

// startInTime has the pool start the delayed job.
func (s *submission) startInTime(j *await.Job, chunks int) {
	if s.options.start.IsZero() || j.Settled() {
		return
	}
	s.pool.starter.add(j, chunks, s.options.delay())
}

// startAtOnce is how many deliveries one script starts.
const startAtOnce = 100

func (s *starter) add(j *await.Job, chunks int, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	if s.timers == nil {
		s.timers = map[*await.Job]*time.Timer{}
	}
	s.timers[j] = time.AfterFunc(after, func() {
		if !s.enter(j) {
			return
		}
		defer s.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ids := make([]string, chunks)
		for i := range ids {
			ids[i] = job.Delivery{Ref: j.Ref, Chunk: i, Number: 1}.TaskID()
		}
		for some := range slices.Chunk(ids, startAtOnce) {
			if _, err := job.Start(ctx, s.rdb, j.Lane, time.Now(), some...); err != nil {
				return // this is a favour: workers start them too
			}
		}
	})
}

// enter reports whether the job is still to be started.
func (s *starter) enter(j *await.Job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.timers, j)
	if s.stopped || j.Settled() {
		return false
	}
	s.running.Add(1)
	return true
}

// stop leaves the jobs that are not started to asynq.
func (s *starter) stop() {
	s.mu.Lock()
	s.stopped = true
	for _, t := range s.timers {
		t.Stop()
	}
	s.timers = nil
	s.mu.Unlock()
	s.running.Wait()
}
