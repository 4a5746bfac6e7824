package queue

import (
	"context"
	"time"
)

const (
	// growEvery is how often a Consumer asks for the lanes of its queues: there may be more.
	growEvery = 5 * time.Second
	// growAgain is that for a queue whose lanes could not be read yet.
	growAgain = time.Second
)

// grow tells dispatch of the lanes of the queues, of new ones too, until ctx ends.
func (c *Consumer) grow(ctx context.Context) {
	known := map[string]bool{}
	for {
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
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}
