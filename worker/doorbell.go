package worker

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// listenFor is how long an idle worker listens before it looks by itself: what a
// lost ring costs.
const listenFor = 2 * time.Second

// doorbell is the Redis client that the asynq server gets. asynq polls: it asks
// for a task, sleeps when there is none, and asks again. The doorbell recognises
// that request, and once all queues have come back empty it holds the next one
// back until a producer rings. So an idle worker costs next to nothing and a
// task starts within a round trip or two.
//
// It also slows the request down while Redis does not answer, where asynq would
// spin. Requests for tasks come from one goroutine of the server; everything
// else passes through.
type doorbell struct {
	redis.UniversalClient
	keys   []string // what to listen to: our own wake-up first, then each queue's bell
	queues int
	closed atomic.Bool
	done   chan struct{} // closed with closed

	empties int // queues that came back empty in a row
	retry   *backoff.ExponentialBackOff
}

func newDoorbell(rdb redis.UniversalClient, worker string, queues []string) *doorbell {
	d := &doorbell{UniversalClient: rdb, queues: len(queues), done: make(chan struct{}), retry: backoff.NewExponentialBackOff()}
	d.retry.InitialInterval, d.retry.MaxInterval = 50*time.Millisecond, 2*time.Second
	d.keys = append(d.keys, record.WakeKey(worker))
	for _, q := range queues {
		d.keys = append(d.keys, record.BellKey(q))
	}
	return d
}

// close stops the handing out of tasks, and wakes the server if it listens.
func (d *doorbell) close() {
	if d.closed.Swap(true) {
		return
	}
	close(d.done)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// Should this fail, the listening ends by itself within listenFor.
	_, _ = d.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, d.keys[0], "1")
		p.Expire(ctx, d.keys[0], 10*time.Second)
		return nil
	})
}

// forget removes the wake-up that nobody needed.
func (d *doorbell) forget(ctx context.Context) { _ = d.Del(ctx, d.keys[0]).Err() }

// EvalSha passes scripts through, and holds requests for tasks back while there
// is nothing to get.
func (d *doorbell) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if !isDequeue(keys) {
		return d.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	if d.empties >= d.queues && !d.closed.Load() {
		d.empties = 0
		d.listen(ctx)
	}
	if d.closed.Load() {
		d.pause(5 * time.Millisecond) // until the server has noticed that it is being shut down
		cmd := redis.NewCmd(ctx)
		cmd.SetErr(redis.Nil)
		return cmd
	}
	cmd := d.UniversalClient.EvalSha(ctx, sha, keys, args...)
	switch err := cmd.Err(); {
	case err == nil:
		d.empties = 0
		d.retry.Reset()
	case errors.Is(err, redis.Nil):
		d.empties++
		d.retry.Reset()
	case record.IsNoScript(err): // asynq sends the source next
	default:
		d.pause(d.retry.NextBackOff())
	}
	return cmd
}

// listen waits for a ring. How it ends does not matter: the server asks again.
func (d *doorbell) listen(ctx context.Context) {
	err := d.BLPop(ctx, listenFor, d.keys...).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		d.pause(d.retry.NextBackOff())
	}
}

func (d *doorbell) pause(t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.done:
		// Being shut down; a moment all the same, so that nothing spins.
		time.Sleep(time.Millisecond)
	}
}

// isDequeue recognises asynq's request for a task by its keys
// (asynq v0.26, internal/rdb: dequeueCmd).
func isDequeue(keys []string) bool {
	return len(keys) == 4 &&
		strings.HasSuffix(keys[0], ":pending") && strings.HasSuffix(keys[1], ":paused") &&
		strings.HasSuffix(keys[2], ":active") && strings.HasSuffix(keys[3], ":lease")
}
