package broker

import (
	"context"
	"time"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// Both of these are favours: asynq and the workers come to the same end without
// them, later. asynq does them one by one, in two round trips each, so they are
// done for so many at the most.
const maxFavours = 1000

// favourTime bounds how long a Redis that answers slowly can hold one up:
// asynq's inspector takes no context, so it is looked at in between. Once a single
// favour takes slowFavour, Redis has gone away.
const (
	favourTime = 10 * time.Second
	slowFavour = time.Second
)

// Start gives deliveries to their queue now that their start has come, and rings
// the bell. asynq does so too, but only to the second and when a worker looks,
// which it does every few seconds.
func (b *Broker) Start(ctx context.Context, queue string, ds []wire.Delivery) error {
	until := time.Now().Add(favourTime)
	for _, d := range ds[:min(len(ds), maxFavours)] {
		began := time.Now()
		if began.After(until) {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// An error says that it is in the queue already, taken, or gone.
		_ = b.inspector.RunTask(queue, d.TaskID())
		if time.Since(began) > slowFavour {
			break
		}
	}
	return record.Ring(queue, len(ds)).Run(ctx, b.rdb).Err()
}
