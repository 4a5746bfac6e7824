package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// A question that its worker has not read by then is for nobody.
	askFor = 30 * time.Second
	// So many questions a worker reads at once, and may have.
	askedAtOnce = 64
	askedMost   = 1024
)

// Ask asks a worker whether it still runs the chunks that the record says it holds.
// It reads that with its next heartbeat, and releases what it does not run: a Redis
// that lost its last writes may have forgotten an outcome, and still know who had
// the chunk.
func Ask(ctx context.Context, c redis.Cmdable, worker string, refs []ChunkRef) error {
	questions := make([]any, len(refs))
	for i, ref := range refs {
		q, err := json.Marshal(ref)
		if err != nil {
			return err
		}
		questions[i] = q
	}
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, askPrefix+worker, questions...)
		p.LTrim(ctx, askPrefix+worker, -askedMost, -1)
		p.PExpire(ctx, askPrefix+worker, askFor)
		return nil
	})
	return err
}

// Asked takes the questions that the worker was asked.
func Asked(ctx context.Context, c redis.Cmdable, worker string) ([]ChunkRef, error) {
	questions, err := c.LPopCount(ctx, askPrefix+worker, askedAtOnce).Result()
	if err != nil {
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return nil, err
	}
	refs := make([]ChunkRef, len(questions))
	for i, q := range questions {
		if err := json.Unmarshal([]byte(q), &refs[i]); err != nil {
			return nil, fmt.Errorf("%w: a question to worker %s: %w", errCorrupt, worker, err)
		}
	}
	return refs, nil
}
