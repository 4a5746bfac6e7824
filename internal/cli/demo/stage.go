package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/producer"
)

// stage is what the demo plays on: Redis, workers, and a pool.
type stage struct {
	where   string // what Redis it is, for people
	url     string
	queue   string
	rdb     redis.UniversalClient
	pool    *producer.Pool
	workers *workers
	jobs    []forgetter
	bells   []string // keys on which the workers wait

	embedded  *miniredis.Miniredis // nil when the Redis is not ours
	stopClock func()
}

// forgetter is a handle, whatever its type.
type forgetter interface {
	Forget(ctx context.Context) error
}

// openStage builds the stage. fail is called when a worker dies on it.
func openStage(ctx context.Context, o Options, fail context.CancelCauseFunc) (*stage, error) {
	s := &stage{url: o.Redis, queue: "demo-" + strings.ToLower(rand.Text()[:12]), stopClock: func() {}}
	s.bells = []string{record.BellKey(s.queue)}
	if err := s.open(ctx, o, fail); err != nil {
		if context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		return nil, errors.Join(err, s.close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *stage) open(ctx context.Context, o Options, fail context.CancelCauseFunc) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	var err error
	if s.workers, err = startWorkers(o.Worker, s.url, s.queue, fail); err != nil {
		return err
	}
	if err := s.awaitWorkers(ctx); err != nil {
		return err
	}
	s.pool, err = producer.Open(ctx, producer.Config{Client: s.rdb, Queue: s.queue, ResultTTL: 10 * time.Minute, Logger: quiet()})
	return err
}

// connect finds the Redis, or starts one.
func (s *stage) connect(ctx context.Context) error {
	if s.url == "" {
		mr, err := miniredis.Run()
		if err != nil {
			return fmt.Errorf("starting the embedded Redis: %w", err)
		}
		s.embedded, s.url, s.where = mr, "redis://"+mr.Addr(), "Embedded Redis on "+mr.Addr()
		s.stopClock = startClock(mr)
	}
	target, err := redisconn.Parse(s.url)
	if err != nil {
		return err
	}
	if s.where == "" {
		s.where = fmt.Sprintf("Redis at %s, queue %s", target, s.queue)
	}
	s.rdb, err = target.Open(ctx)
	return err
}

// startClock makes time pass in the embedded Redis, whose keys do not expire by
// themselves.
func startClock(mr *miniredis.Miniredis) (stop func()) {
	ticker, done, ended := time.NewTicker(time.Second), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		last := time.Now()
		for {
			select {
			case now := <-ticker.C:
				mr.FastForward(now.Sub(last))
				last = now
			case <-done:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(done)
		<-ended
	}
}

const startLimit = 15 * time.Second

// awaitWorkers waits until every worker process has reported for duty.
func (s *stage) awaitWorkers(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("%d worker processes did not start within %v", processes, startLimit))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.meetWorkers(limited)
		if err != nil && limited.Err() == nil {
			return fmt.Errorf("looking for the workers: %w", err)
		}
		if len(s.bells) > processes {
			return nil
		}
		select {
		case <-limited.Done():
			return context.Cause(limited)
		case <-tick.C:
		}
	}
}

// meetWorkers notes the bells of the workers that run.
func (s *stage) meetWorkers(ctx context.Context) error {
	ws, err := fleet.Workers(ctx, s.rdb)
	if err != nil {
		return err
	}
	s.bells = []string{record.BellKey(s.queue)}
	for _, w := range ws {
		if w.Serves(s.queue) {
			s.bells = append(s.bells, record.WakeKey(w.ID))
		}
	}
	return nil
}

// forgetLater has a job removed from Redis at the end.
func (s *stage) forgetLater(job forgetter) { s.jobs = append(s.jobs, job) }

// cleanUp is how long the end of the demo may take.
const cleanUp = 15 * time.Second

// close takes everything down, as far as it was built.
func (s *stage) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUp)
	defer cancel()
	var errs []error
	if s.pool != nil {
		if s.embedded == nil {
			for _, job := range s.jobs {
				errs = append(errs, job.Forget(ctx))
			}
		}
		errs = append(errs, s.pool.Terminate(ctx))
	}
	if s.workers != nil {
		if s.embedded == nil && len(s.bells) <= processes {
			errs = append(errs, s.meetWorkers(ctx)) // we did not get as far as seeing all
		}
		errs = append(errs, s.workers.stop())
	}
	if s.rdb != nil {
		if s.embedded == nil && s.workers != nil {
			errs = append(errs, s.deleteQueue(ctx))
		}
		errs = append(errs, s.rdb.Close())
	}
	s.stopClock()
	if s.embedded != nil {
		s.embedded.Close()
	}
	return errors.Join(errs...)
}

// deleteQueue removes the demo's queue from a Redis that stays. Nobody else
// knows it.
func (s *stage) deleteQueue(ctx context.Context) error {
	err := asynq.NewInspectorFromRedisClient(s.rdb).DeleteQueue(s.queue, true)
	if err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
		return fmt.Errorf("deleting queue %q: %w", s.queue, err)
	}
	// asynq keeps its counters of a queue that it deletes.
	var counters []string
	now := time.Now().UTC()
	for _, what := range []string{"processed", "failed"} {
		key := fmt.Sprintf("asynq:{%s}:%s", s.queue, what)
		counters = append(counters, key, key+":"+now.Format(time.DateOnly), key+":"+now.AddDate(0, 0, -1).Format(time.DateOnly))
	}
	return errors.Join(s.rdb.Del(ctx, counters...).Err(), s.rdb.Del(ctx, s.bells...).Err())
}
