package record

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Worker describes a worker process. It is what the registry holds.
type Worker struct {
	ID          string         `json:"id"`
	Host        string         `json:"host"`
	PID         int            `json:"pid"`
	Concurrency int            `json:"concurrency"` // slots
	Queues      map[string]int `json:"queues"`      // name -> weight
	Tasks       []string       `json:"tasks"`       // names, sorted
	Started     time.Time      `json:"started"`
}

// Serves reports whether the worker takes deliveries from the queue.
func (w Worker) Serves(queue string) bool { return w.Queues[queue] > 0 }

// Knows reports whether the worker can run the task.
func (w Worker) Knows(task string) bool {
	for _, t := range w.Tasks {
		if t == task {
			return true
		}
	}
	return false
}

// Beat says that the worker is alive, and counts as such for ttl. The
// description is sent when full is set; Beat reports whether the registry has
// it afterwards.
func Beat(ctx context.Context, c redis.Scripter, w Worker, ttl time.Duration, full bool) (bool, error) {
	desc := []byte{}
	if full {
		var err error
		if desc, err = json.Marshal(w); err != nil {
			return false, err
		}
	}
	op := Op{beatScript, []string{workersIndex, workerPrefix + w.ID}, []any{w.ID, ttl.Milliseconds(), desc}}
	n, err := op.Run(ctx, c).Int()
	return n == 1, err
}

// Depart removes a worker from the registry: it stopped, with nothing running.
func Depart(ctx context.Context, c redis.Cmdable, worker string) error {
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, workersIndex, worker)
		p.Del(ctx, workerPrefix+worker)
		return nil
	})
	return err
}

// Alive reports whether the worker counts as alive.
func Alive(ctx context.Context, c redis.Cmdable, worker string) (bool, error) {
	n, err := c.Exists(ctx, workerPrefix+worker).Result()
	return n == 1, err
}

// Workers lists the workers that count as alive.
func Workers(ctx context.Context, c redis.Cmdable) ([]Worker, error) {
	now, err := c.Time(ctx).Result()
	if err != nil {
		return nil, err
	}
	ids, err := c.ZRangeByScore(ctx, workersIndex, &redis.ZRangeBy{
		Min: strconv.FormatInt(now.UnixMilli(), 10), Max: "+inf",
	}).Result()
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = workerPrefix + id
	}
	values, err := c.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	var ws []Worker
	for i, v := range values {
		s, ok := v.(string)
		if !ok {
			continue // it died between the two reads
		}
		var w Worker
		if err := json.Unmarshal([]byte(s), &w); err != nil {
			return nil, fmt.Errorf("%w: worker %s: %w", errCorrupt, ids[i], err)
		}
		ws = append(ws, w)
	}
	return ws, nil
}
