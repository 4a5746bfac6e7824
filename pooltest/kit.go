package pooltest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inline"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

const (
	// startTimeout bounds the start, and the wait for workers to register again. It
	// takes milliseconds, unless the machine is very busy.
	startTimeout = 30 * time.Second
	// stopTimeout bounds the end of the pool. Then calls that ignore their canceled
	// contexts still have grace.
	stopTimeout = 10 * time.Second
	grace       = 5 * time.Second
)

// Kit is a running pool with its workers and its Redis.
type Kit struct {
	// Pool submits to the kit's workers. A test may close, join or terminate it;
	// Close of the kit does it otherwise.
	Pool *producer.Pool

	options options
	url     string
	queue   string
	server  *miniredis.Miniredis // nil on a Redis that was named
	rdb     redis.UniversalClient

	stop    context.CancelFunc // ends the workers
	running sync.WaitGroup     // the workers

	mu     sync.Mutex // guards errors
	errors []error    // of workers that ended

	once   sync.Once // guards the closing
	closed error
}

// Open starts a Redis, workers that serve the tasks, and a pool. It returns when
// the workers are ready. Use it where there is no testing.TB, such as in an
// Example, and close the kit at the end. As worker.Run does, it panics without
// tasks and with two of one name.
func Open(ts []tasks.Runner, opts ...Option) (*Kit, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	k := &Kit{options: o, url: o.redis, queue: producer.DefaultQueue}
	if err := k.start(ts); err != nil {
		_ = k.Close() // what it has to say follows from err
		return nil, fmt.Errorf("starting a pool for tests: %w", err)
	}
	return k, nil
}

func (k *Kit) start(ts []tasks.Runner) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	if k.url == "" {
		if k.server, err = miniredis.Run(); err != nil {
			return err
		}
		k.url = "redis://" + k.server.Addr()
	} else {
		k.queue = "pooltest-" + strings.ToLower(rand.Text())
	}
	if k.rdb, err = redisconn.Open(ctx, k.url); err != nil {
		return err
	}
	k.work(ts)
	if err := k.awaitWorkers(ctx); err != nil {
		return err
	}
	if k.options.inline {
		ctx = inline.With(ctx, &inline.Hook{Before: refuseNested, After: awaitEnd})
	}
	k.Pool, err = producer.Open(ctx, producer.Config{Redis: k.url, Queue: k.queue, Logger: k.options.logger})
	return err
}

// work starts the workers.
func (k *Kit) work(ts []tasks.Runner) {
	cfg := worker.Config{
		Redis: k.url, Concurrency: k.options.concurrency, Queues: map[string]int{k.queue: 1},
		Grace: grace, Logger: k.options.logger, Init: k.options.init,
	}
	for _, q := range k.options.queues {
		cfg.Queues[q] = 1
	}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	for i := range k.options.workers {
		cfg := cfg
		cfg.Name = fmt.Sprintf("pooltest-%d", i+1)
		k.running.Go(func() {
			if err := worker.Run(ctx, cfg, ts...); err != nil {
				k.mu.Lock()
				defer k.mu.Unlock()
				k.errors = append(k.errors, err)
			}
		})
	}
}

// awaitWorkers waits until every worker is registered. Before that, a map would
// be cut for fewer slots than there are.
func (k *Kit) awaitWorkers(ctx context.Context) error {
	for {
		ws, err := fleet.Workers(ctx, k.rdb)
		if err != nil {
			return err
		}
		n := 0
		for _, w := range ws {
			if w.Serves(k.queue) {
				n++
			}
		}
		if n == k.options.workers {
			return nil
		}
		if err := k.workerError(); err != nil {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d workers are registered: %w", n, k.options.workers, context.Cause(ctx))
		}
	}
}

func (k *Kit) workerError() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(k.errors...)
}

// refuseNested is the inline pool's answer to a call that submits.
func refuseNested(ctx context.Context) error {
	if info := tasks.Info(ctx); info.Job != "" {
		return fmt.Errorf("pooltest: a call of task %q submits to an inline pool, whose only slot it holds; use a pool without Inline, with more slots than calls that wait for others", info.Task)
	}
	return nil
}

// awaitEnd is what makes a pool inline.
func awaitEnd(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// URL names the kit's Redis, as producer.Config.Redis and worker.Config.Redis
// take it.
func (k *Kit) URL() string { return k.url }

// Queue is the queue that the pool submits to and the workers serve.
func (k *Kit) Queue() string { return k.queue }

// Advance ages what the embedded Redis holds by d: whatever has a time to live
// of d or less is gone when it returns, such as the records of jobs that ended
// less than their ResultTTL ago. Live workers stay registered. Timers in this
// process are not moved: see the package's introduction. Advance panics on a
// Redis that was named by the Redis option, whose clock nobody can move, and
// when d is negative.
func (k *Kit) Advance(d time.Duration) {
	if k.server == nil {
		panic("pooltest: Advance on a Redis named by the Redis option: its clock cannot be moved; leave the option out")
	}
	if d < 0 {
		panic(fmt.Sprintf("pooltest: Advance(%v): time moves forward only", d))
	}
	// Workers beat on the real clock, which stands still here. So their keys age as
	// it does: not at all.
	for _, key := range k.server.Keys() {
		if ttl := k.server.TTL(key); ttl > 0 && fleet.IsKey(key) {
			k.server.SetTTL(key, ttl+d)
		}
	}
	k.server.FastForward(d)
	// A beat in between loses to the jump; the next one repairs that.
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := k.awaitWorkers(ctx); err != nil {
		panic(fmt.Sprintf("pooltest: Advance(%v): %v", d, err))
	}
}

// Close ends everything that Open started: jobs that are not over are canceled,
// workers drain, the embedded Redis stops. The error says what did not end in
// time: a call that ignores its canceled context for 5 seconds, for instance.
// Closing twice is fine.
func (k *Kit) Close() error {
	k.once.Do(func() { k.closed = k.close() })
	return k.closed
}

func (k *Kit) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	if k.Pool != nil {
		errs = append(errs, k.Pool.Terminate(ctx))
	}
	if k.stop != nil {
		k.stop()
		k.running.Wait()
		errs = append(errs, k.workerError())
	}
	if k.rdb != nil {
		if k.server == nil {
			errs = append(errs, k.removeQueue(context.Background()))
		}
		errs = append(errs, k.rdb.Close())
	}
	if k.server != nil {
		k.server.Close()
	}
	return errors.Join(errs...)
}

// removeQueue deletes the kit's queue from a Redis that goes on, with the counters
// that asynq would leave behind.
func (k *Kit) removeQueue(ctx context.Context) error {
	err := asynq.NewInspectorFromRedisClient(k.rdb).DeleteQueue(k.queue, true)
	if err != nil && !errors.Is(err, asynq.ErrQueueNotFound) { // that one: nothing was submitted
		return err
	}
	var counters []string
	for _, name := range []string{"processed", "failed"} {
		counter := "asynq:{" + k.queue + "}:" + name
		counters = append(counters, counter)
		for day := range 2 { // a test may run over midnight
			counters = append(counters, counter+":"+time.Now().UTC().AddDate(0, 0, -day).Format(time.DateOnly))
		}
	}
	return k.rdb.Del(ctx, counters...).Err()
}
