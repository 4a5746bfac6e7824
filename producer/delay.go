package producer

import (
	"context"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/broker"
	"github.com/distpool/distpool/internal/wire"
)

// starter starts delayed jobs at their time, as long as the pool is open.
// Without it they start too, when a worker looks for delayed deliveries.
type starter struct {
	broker *broker.Broker

	mu      sync.Mutex // guards all below
	stopped bool
	timers  map[*await.Job]*time.Timer
	running sync.WaitGroup
}

// startInTime has the pool start the delayed job.
func (s *submission) startInTime(job *await.Job, chunks int) {
	if s.options.start.IsZero() || job.Settled() {
		return
	}
	s.pool.starter.add(job, s.options.queue, firstDeliveries(job, chunks), s.options.delay())
}

// firstDeliveries are the first deliveries of so many chunks.
func firstDeliveries(job *await.Job, chunks int) []wire.Delivery {
	ds := make([]wire.Delivery, chunks)
	for i := range ds {
		ds[i] = wire.Delivery{Job: job.ID, Gen: job.Gen, Chunk: i, Number: 1}
	}
	return ds
}

func (s *starter) add(job *await.Job, queue string, ds []wire.Delivery, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	if s.timers == nil {
		s.timers = map[*await.Job]*time.Timer{}
	}
	s.timers[job] = time.AfterFunc(after, func() {
		if !s.enter(job) {
			return
		}
		defer s.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.broker.Start(ctx, queue, ds) // a favour: asynq starts them too
	})
}

// enter reports whether the job is still to be started.
func (s *starter) enter(job *await.Job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.timers, job)
	if s.stopped || job.Settled() {
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
