package queue

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// forwardEvery is how often a worker looks for delayed deliveries that are due. It bounds
// how late a delivery comes if its producer, or the worker that put it off, is gone.
const forwardEvery = time.Second

// forwardTime bounds one look: a server that is down must not keep the lanes of others waiting.
const forwardTime = 3 * time.Second

// forward makes delayed deliveries pending when they are due, until ctx ends. While no
// delivery waits in any lane it costs one round trip each second.
func (c *Consumer) forward(ctx context.Context) {
	t := time.NewTicker(forwardEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := c.forwardDue(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Logger.Debug("looking for delayed deliveries failed", "error", err)
		}
	}
}

func (c *Consumer) forwardDue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	lanes := c.Lanes()
	if len(lanes) == 0 {
		return nil
	}
	waiting := make([]*redis.IntCmd, len(lanes))
	_, err := c.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, lane := range lanes {
			waiting[i] = job.QueueDelayed(ctx, p, lane)
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
	return errors.Join(errs...)
}
