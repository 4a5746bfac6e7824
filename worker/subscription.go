package worker

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Subscribe is how asynq's subscriber listens for tasks that an operator cancels (asynq v0.26,
// internal/rdb: CancelationPubSub). When Redis refuses, it drops the subscription with its
// connection and makes another one after 5 s, so the one before is closed here.
func (d *doorbell) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	d.unsubscribe()
	d.subscription = d.Client.Subscribe(ctx, channels...)
	return d.subscription
}

// unsubscribe closes asynq's last subscription. asynq's subscriber must not use it any more.
func (d *doorbell) unsubscribe() {
	if d.subscription != nil {
		_ = d.subscription.Close() // an error says that asynq has closed it
	}
}
