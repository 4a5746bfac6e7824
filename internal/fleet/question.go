package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

const (
	// A question that its worker has not read by then is dropped.
	askFor = 30 * time.Second
	// So many questions a worker reads at once, and may have.
	askedAtOnce = 64
	askedMost   = 1024
)

// Question asks a worker whether it still runs a chunk that the record says it holds: a Redis
// that lost its last writes may have forgotten an outcome, and still know the chunk's owner. The
// worker gives back what it does not run.
type Question struct {
	Lane string
	job.Delivery
}

// Owners asks about workers that own chunks.
type Owners struct{ Redis redis.Cmdable }

// IsAlive reports whether the worker counts as alive.
func (o Owners) IsAlive(ctx context.Context, worker string) (bool, error) {
	n, err := o.Redis.Exists(ctx, workerPrefix+worker).Result()
	return n == 1, err
}

// Ask asks a worker whether it still runs these chunks of a lane.
func (o Owners) Ask(ctx context.Context, worker, lane string, chunks []job.Delivery) error {
	asked := make([]any, len(chunks))
	for i, d := range chunks {
		data, err := json.Marshal(Question{lane, d})
		if err != nil {
			return err
		}
		asked[i] = data
	}
	_, err := o.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, askPrefix+worker, asked...)
		p.LTrim(ctx, askPrefix+worker, -askedMost, -1)
		p.PExpire(ctx, askPrefix+worker, askFor)
		return nil
	})
	return err
}

// asked takes the questions to a worker, up to 64 at once. There may be some beside an error.
func asked(ctx context.Context, c redis.Cmdable, worker string) ([]Question, error) {
	list, err := c.LPopCount(ctx, askPrefix+worker, askedAtOnce).Result()
	if err != nil {
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return nil, err
	}
	var questions []Question
	for _, data := range list {
		var q Question
		if jerr := json.Unmarshal([]byte(data), &q); jerr != nil {
			err = fmt.Errorf("a question to worker %s: %w", worker, jerr)
			continue
		}
		questions = append(questions, q)
	}
	return questions, err
}
