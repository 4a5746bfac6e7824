package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/combine"
	"github.com/distpool/distpool/internal/record"
)

const (
	// listenFor is how long an idle worker listens before it looks by itself: what a
	// lost ring costs where there is no outlook.
	listenFor = 2 * time.Second
	// listenLonger is how long it listens at once where there is one. A connection
	// that broke without a word is noticed only after that.
	listenLonger = 4 * time.Second
)

// doorbell is the Redis client that the asynq server gets. asynq polls: it asks
// for a task, sleeps when there is none, and asks again. The doorbell recognises
// that request, and once all queues have come back empty it holds the next one
// back until a producer rings. So an idle worker costs next to nothing and a
// task starts within a round trip or two.
//
// It also slows the request down while Redis does not answer, where asynq would
// spin. Requests for tasks come from one goroutine of the server; on a single server
// the fetcher answers them. All other scripts share round trips.
type doorbell struct {
	*combine.Client
	fetcher  *fetcher  // nil when the keys are on several servers
	finisher *finisher // nil likewise
	outlook  *outlook  // nil likewise
	giveWay  func()    // waits while other workers are to ask first; the fetcher has its own
	worker   string
	keys     []string // what to listen to: our own wake-up first, then each queue's bell
	queues   []string
	closed   atomic.Bool
	done     chan struct{} // closed with closed
	freed    chan struct{} // a slot was freed
	listens  atomic.Bool   // right now
	listed   listed
	leases   leases

	subscription *redis.PubSub // asynq's last; its subscriber has it, and after that the drain

	knowsDone atomic.Bool // asynq ends deliveries as we expect

	empties int    // queues that came back empty in a row
	heard   string // the queue for which it was woken, until that has been asked
	retry   *backoff.ExponentialBackOff
}

func newDoorbell(rdb redis.UniversalClient, worker string, queues []string) *doorbell {
	d := &doorbell{
		Client: combine.New(rdb), worker: worker, queues: queues, done: make(chan struct{}), freed: make(chan struct{}, 1),
		retry: backoff.NewExponentialBackOff(), giveWay: func() {},
	}
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
	if d.fetcher != nil {
		d.fetcher.close()
	}
	// Should this fail, the listening ends by itself.
	d.wake(context.Background())
}

// wake ends the listening.
func (d *doorbell) wake(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = record.Wake(ctx, d.UniversalClient, d.worker)
}

// listenLast has a worker that listens do so anew: of those that do, Redis calls the one
// that has for the longest.
func (d *doorbell) listenLast() {
	if d.listens.Load() {
		d.wake(context.Background())
	}
}

// lookOut has the outlook tell whether there is something to fetch.
func (d *doorbell) lookOut(queues []string) {
	d.outlook = newOutlook(d.UniversalClient, queues, func(ctx context.Context) {
		if d.listens.Load() { // otherwise it looks by itself
			d.wake(ctx)
		}
	})
}

// forget removes the wake-up that nobody needed.
func (d *doorbell) forget(ctx context.Context) { _ = d.Del(ctx, d.keys[0]).Err() }

// slotFreed says that there is something to fetch for.
func (d *doorbell) slotFreed() {
	select {
	case d.freed <- struct{}{}:
	default:
	}
}

// EvalSha passes scripts through, holds requests for tasks back while there is
// nothing to get, and keeps back what the finisher does.
func (d *doorbell) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	switch {
	case isDequeue(keys) && d.fetcher != nil && sha == record.AsynqDequeue:
		return d.fetch(ctx, queueOf(keys[0]))
	case isDequeue(keys):
		return d.dequeue(ctx, sha, keys, args)
	case isForward(sha, keys):
		pass := func() *redis.Cmd { return d.Client.EvalSha(ctx, sha, keys, args...) }
		if d.outlook == nil {
			return ringFor(ctx, d.UniversalClient, keys[0], pass())
		}
		return d.outlook.forward(ctx, keys[0], pass)
	case isListing(sha, keys, args):
		ctx, cancel := context.WithTimeout(ctx, beatTime)
		defer cancel()
		return d.listed.write(ctx, d.UniversalClient, keys, args, func() *redis.Cmd { return d.Client.EvalSha(ctx, sha, keys, args...) })
	case sha == record.AsynqDone && d.finisher != nil && len(args) > 0:
		d.knowsDone.Store(true)
		if id, ok := args[0].(string); ok && d.finisher.ended(id) {
			cmd := redis.NewCmd(ctx)
			cmd.SetVal("OK")
			return cmd
		}
	}
	return d.Client.EvalSha(ctx, sha, keys, args...)
}

// Eval is the second half of EvalSha, where the server did not know the script: what asynq
// brings to a queue with it is rung for, too.
func (d *doorbell) Eval(ctx context.Context, source string, keys []string, args ...any) *redis.Cmd {
	cmd := d.Client.Eval(ctx, source, keys, args...)
	if isForward(redis.NewScript(source).Hash(), keys) {
		return ringFor(ctx, d.UniversalClient, keys[0], cmd)
	}
	return cmd
}

// nothing is the answer that there is no task.
func nothing(ctx context.Context) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(redis.Nil)
	return cmd
}

// fetch answers a request for a task of the queue through the fetcher.
func (d *doorbell) fetch(ctx context.Context, queue string) *redis.Cmd {
	asked := time.Now()
	for {
		if d.closed.Load() {
			d.pause(5 * time.Millisecond) // until the server has noticed that it is being shut down
			return nothing(ctx)
		}
		if time.Since(asked) > freshFor {
			return nothing(ctx)
		}
		msg, a := d.fetcher.ask(queue)
		switch a {
		case handOut:
			cmd := redis.NewCmd(ctx)
			cmd.SetVal(msg)
			return cmd
		case noneHere:
			return nothing(ctx)
		case silent:
			if !d.listen(ctx) {
				continue
			}
			d.fetcher.listened()
		case unknown:
			if over := d.fetcher.underWay(); over != nil {
				<-over
				continue
			}
		}
		if d.fetcher.free() <= 0 {
			d.awaitSlot()
			continue
		}
		if d.closed.Load() {
			continue
		}
		if err := d.fetcher.fetch(ctx); err != nil {
			d.pause(d.retry.NextBackOff())
			cmd := redis.NewCmd(ctx)
			cmd.SetErr(err)
			return cmd
		}
		d.retry.Reset()
		if time.Since(asked) > freshFor {
			return nothing(ctx)
		}
		if msg, a = d.fetcher.ask(queue); a == handOut {
			cmd := redis.NewCmd(ctx)
			cmd.SetVal(msg)
			return cmd
		}
		return nothing(ctx)
	}
}

// awaitSlot waits for a slot: asynq believes that one is free.
func (d *doorbell) awaitSlot() {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-d.freed:
	case <-d.done:
	case <-timer.C:
	}
}

// dequeue passes a request for a task on.
func (d *doorbell) dequeue(ctx context.Context, sha string, keys []string, args []any) *redis.Cmd {
	asked := time.Now()
	if d.empties >= len(d.queues) && !d.closed.Load() {
		d.empties = 0
		d.listen(ctx)
	}
	if d.closed.Load() {
		d.passOn(ctx)
		d.pause(5 * time.Millisecond) // until the server has noticed that it is being shut down
		return nothing(ctx)
	}
	if time.Since(asked) > freshFor {
		return nothing(ctx)
	}
	d.giveWay()
	cmd := d.UniversalClient.EvalSha(ctx, sha, keys, args...)
	if err := cmd.Err(); (err == nil || errors.Is(err, redis.Nil)) && queueOf(keys[0]) == d.heard {
		d.heard = ""
	}
	switch err := cmd.Err(); {
	case err == nil:
		d.passOn(ctx)
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

// passOn rings again for the queue for which this worker was woken, if it has taken
// something of another one or ends: it may have no slot left, and others of that queue
// listen still. On a single server the fetch does so.
func (d *doorbell) passOn(ctx context.Context) {
	if d.heard != "" {
		_ = record.Ring(d.heard, 1).Run(ctx, d.UniversalClient).Err() // without, they look within seconds
		d.heard = ""
	}
}

// listen waits for a ring, and reports whether there may be something to fetch.
func (d *doorbell) listen(ctx context.Context) bool {
	wait := listenFor
	if d.outlook != nil && d.outlook.recent() {
		wait = listenLonger
	}
	d.listens.Store(true)
	defer d.listens.Store(false)
	rung, err := d.BLPop(ctx, wait, d.keys...).Result()
	d.heard = ""
	switch {
	case err == nil:
		if i := slices.Index(d.keys, rung[0]); i > 0 {
			d.heard = d.queues[i-1]
		}
		return true
	case errors.Is(err, redis.Nil):
		// Whoever looks out wakes us if there is something.
		return d.outlook == nil || !d.outlook.recent()
	default:
		d.pause(d.retry.NextBackOff())
		return true
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

// queueOf is the queue of asynq's pending list.
func queueOf(pending string) string {
	return strings.TrimSuffix(strings.TrimPrefix(pending, "asynq:{"), "}:pending")
}
