package record

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Wake has workers that listen for rings look into their queues.
func Wake(ctx context.Context, c redis.UniversalClient, workers ...string) error {
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range workers {
			key := WakeKey(id)
			p.RPush(ctx, key, "1")
			p.LTrim(ctx, key, 0, 0) // a worker that did not listen for long finds one, not all
			p.Expire(ctx, key, 10*time.Second)
		}
		return nil
	})
	return err
}
