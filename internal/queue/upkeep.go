package queue

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
)

const (
	// forwardEvery is how often a worker looks for delayed deliveries that are due. It bounds
	// how late a delivery comes if its producer, or the worker that put it off, is gone.
	forwardEvery = time.Second
	// forwardTime bounds one look: a server that is down must not keep the lanes of others waiting.
	forwardTime = 3 * time.Second
	// renewEvery is how often leases are renewed: three times in their duration.
	renewEvery = asynqfmt.LeaseDuration / 3
	// growEvery is how often a Consumer asks for the lanes of its queues: there may be more.
	growEvery = 5 * time.Second
	// growAgain is that for a queue whose lanes could not be read yet.
	growAgain = time.Second
)

// every calls f after each d, until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// forward makes delayed deliveries pending that are due. While no delivery waits in any lane it
// costs one round trip.
func (c *Consumer) forward(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	lanes := c.Lanes()
	if len(lanes) == 0 {
		return
	}
	waiting := make([]*redis.IntCmd, len(lanes))
	_, err := c.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, lane := range lanes {
			waiting[i] = p.Exists(ctx, asynqfmt.ScheduledKey(lane), asynqfmt.RetryKey(lane))
		}
		return nil
	})
	errs := []error{err} // other lanes may have answered
	for i, lane := range lanes {
		for more := waiting[i].Val() > 0; more; {
			n, err := job.Forward(ctx, c.cfg.Redis, lane, time.Now())
			errs = append(errs, err)
			more = err == nil && n >= job.MaxForwarded
		}
	}
	if err := errors.Join(errs...); err != nil && !errors.Is(err, context.Canceled) {
		c.cfg.Logger.Debug("looking for delayed deliveries failed", "error", err)
	}
}

// lease notes a delivery whose lease is to be renewed. The caller has the lock.
func (c *Consumer) lease(lane, id string) {
	if c.leased[lane] == nil {
		c.leased[lane] = map[string]struct{}{}
	}
	c.leased[lane][id] = struct{}{}
}

func (c *Consumer) unlease(lane, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leased[lane], id)
}

// Holds reports whether a delivery is dealt with here.
func (c *Consumer) Holds(lane, id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.leased[lane][id]
	return ok
}

// renew renews the leases of what runs.
func (c *Consumer) renew(ctx context.Context) {
	until := float64(time.Now().Add(asynqfmt.LeaseDuration).Unix())
	leases := map[string][]redis.Z{} // by lane
	c.mu.Lock()
	for lane, ids := range c.leased {
		for id := range ids {
			leases[lane] = append(leases[lane], redis.Z{Score: until, Member: id})
		}
	}
	c.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	_, err := c.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for lane, members := range leases {
			p.ZAddArgs(ctx, asynqfmt.LeaseKey(lane), redis.ZAddArgs{XX: true, Members: members})
		}
		return nil
	})
	if err != nil {
		c.cfg.Logger.Debug("renewing leases failed", "error", err)
	}
}

// grow tells dispatch of the lanes of the queues, of new ones too, until ctx ends.
func (c *Consumer) grow(ctx context.Context) {
	known := map[string]bool{}
	for ctx.Err() == nil {
		next := growEvery
		var more []*listener
		for _, q := range c.cfg.Queues {
			lanes, err := c.cfg.Lanes(ctx, q.Name)
			if err != nil {
				next = growAgain
				c.cfg.Logger.Debug("reading the lanes of a queue failed; it is tried again", "queue", q.Name, "error", err)
			}
			for _, lane := range lanes {
				if !known[lane] {
					known[lane] = true
					more = append(more, c.newListener(q, lane))
				}
			}
		}
		select {
		case c.grown <- more:
		case <-ctx.Done():
			return
		}
		sleep(ctx, next)
	}
}
