package queue

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
)

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

// renew renews the leases of what runs, three times in their duration.
func (c *Consumer) renew(ctx context.Context) {
	t := time.NewTicker(asynqfmt.LeaseDuration / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		c.mu.Lock()
		leased := make(map[string][]string, len(c.leased))
		for lane, ids := range c.leased {
			leased[lane] = slices.Collect(maps.Keys(ids))
		}
		c.mu.Unlock()
		p := c.cfg.Redis.Pipeline()
		for lane, ids := range leased {
			if len(ids) > 0 {
				job.ExtendLeases(ctx, p, lane, time.Now().Add(asynqfmt.LeaseDuration).Unix(), ids)
			}
		}
		if p.Len() > 0 {
			short, cancel := context.WithTimeout(ctx, asynqfmt.LeaseDuration/3)
			if _, err := p.Exec(short); err != nil {
				c.cfg.Logger.Debug("renewing leases failed", "error", err)
			}
			cancel()
		}
	}
}

// Holds reports whether a delivery is dealt with here.
func (c *Consumer) Holds(lane, id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.leased[lane][id]
	return ok
}
