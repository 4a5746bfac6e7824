package producer

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
)

// owners is supervise.Owners.
type owners struct{ rdb redis.UniversalClient }

func (o owners) IsAlive(ctx context.Context, worker string) (bool, error) {
	return fleet.Alive(ctx, o.rdb, worker)
}

func (o owners) Ask(ctx context.Context, worker, lane string, chunks []job.Delivery) error {
	questions := make([]fleet.Question, len(chunks))
	for i, d := range chunks {
		questions[i] = fleet.Question{Lane: lane, Job: d.Name, Gen: d.Gen, Chunk: d.Chunk, Number: d.Number}
	}
	return fleet.Ask(ctx, o.rdb, worker, questions)
}
