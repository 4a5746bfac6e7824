package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
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
	Lane   string `json:"lane,omitempty"`
	Job    string `json:"job"`
	Gen    string `json:"gen,omitempty"`
	Chunk  int    `json:"chunk"`
	Number int    `json:"number,omitempty"` // of the delivery
}

// Ask puts questions to a worker.
func Ask(ctx context.Context, c redis.Cmdable, worker string, questions []Question) error {
	asked := make([]any, len(questions))
	for i, q := range questions {
		data, err := json.Marshal(q)
		if err != nil {
			return err
		}
		asked[i] = data
	}
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, askPrefix+worker, asked...)
		p.LTrim(ctx, askPrefix+worker, -askedMost, -1)
		p.PExpire(ctx, askPrefix+worker, askFor)
		return nil
	})
	return err
}

// Asked takes the questions to a worker, up to 64 at once. There may be some beside an error.
func Asked(ctx context.Context, c redis.Cmdable, worker string) ([]Question, error) {
	asked, err := c.LPopCount(ctx, askPrefix+worker, askedAtOnce).Result()
	if err != nil {
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return nil, err
	}
	var questions []Question
	for _, data := range asked {
		var q Question
		if jerr := json.Unmarshal([]byte(data), &q); jerr != nil {
			err = fmt.Errorf("a question to worker %s: %w", worker, jerr)
			continue
		}
		questions = append(questions, q)
	}
	return questions, err
}
