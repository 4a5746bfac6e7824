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

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/lanes"
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
		n, err := s.serving(limited)
		if err != nil && limited.Err() == nil {
			return fmt.Errorf("looking for the workers: %w", err)
		}
		if n >= processes {
			return nil
		}
		select {
		case <-limited.Done():
			return context.Cause(limited)
		case <-tick.C:
		}
	}
}

// serving is how many workers serve the queue.
func (s *stage) serving(ctx context.Context) (n int, err error) {
	ws, err := fleet.Workers(ctx, s.rdb)
	for _, w := range ws {
		if w.Serves(s.queue) {
			n++
		}
	}
	return n, err
}

// forgetLater has a job removed from Redis at the end.
func (s *stage) forgetLater(handle forgetter) { s.jobs = append(s.jobs, handle) }

// cleanUp is how long the end of the demo may take.
const cleanUp = 15 * time.Second

// close takes everything down, as far as it was built.
func (s *stage) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUp)
	defer cancel()
	var errs []error
	if s.pool != nil {
		if s.embedded == nil {
			for _, handle := range s.jobs {
				errs = append(errs, handle.Forget(ctx))
			}
		}
		errs = append(errs, s.pool.Terminate(ctx))
	}
	if s.workers != nil {
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

// deleteQueue removes the demo's queue from a Redis that stays. No other program
// knows it.
func (s *stage) deleteQueue(ctx context.Context) error {
	router := lanes.NewRouter(s.rdb).Reading()
	all, err := router.Lanes(ctx, s.queue)
	if err != nil {
		return err
	}
	errs := []error{router.Forget(ctx, s.queue)}
	now := time.Now().UTC()
	for _, lane := range all {
		err := asynq.NewInspectorFromRedisClient(s.rdb).DeleteQueue(lane, true)
		if err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
			errs = append(errs, fmt.Errorf("deleting queue %q: %w", lane, err))
		}
		// asynq keeps its counters of a queue that it deletes.
		var counters []string
		for _, what := range []string{"processed", "failed"} {
			key := asynqfmt.Prefix(lane) + what
			counters = append(counters, key, key+":"+now.Format(time.DateOnly), key+":"+now.AddDate(0, 0, -1).Format(time.DateOnly))
		}
		errs = append(errs, s.rdb.Del(ctx, counters...).Err())
	}
	return errors.Join(errs...)
}
