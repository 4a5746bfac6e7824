package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A name that users choose, as part of a worker's ID, is always behind a word that says what
// it names.
const (
	index        = "distpool:@{workers}"
	leaderKey    = index + ":leader"
	workerPrefix = index + ":w:"
	statsPrefix  = index + ":stats:"
	askPrefix    = index + ":ask:"
)

// remember is how long the index lists a worker that did not describe itself again, and how
// long published numbers are kept: much longer than the time between two descriptions.
const remember = 10 * time.Minute

// IsKey reports whether the key belongs to the registry.
func IsKey(key string) bool { return strings.HasPrefix(key, index) }

// Register describes a worker, which counts as alive for ttl. The index is dated by the clock of
// Redis: a worker with a wrong clock must not have others forgotten.
func Register(ctx context.Context, c redis.Cmdable, w Worker, ttl time.Duration) error {
	desc, err := json.Marshal(w)
	if err != nil {
		return err
	}
	now, err := c.Time(ctx).Result()
	if err != nil {
		return err
	}
	_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, workerPrefix+w.ID, desc, ttl)
		p.ZAdd(ctx, index, redis.Z{Score: float64(now.Add(remember).UnixMilli()), Member: w.ID})
		p.ZRemRangeByScore(ctx, index, "-inf", strconv.FormatInt(now.UnixMilli(), 10))
		p.PExpire(ctx, index, remember)
		return nil
	})
	return err
}

// Unregister removes a worker from the registry: it stopped, with nothing running.
func Unregister(ctx context.Context, c redis.Cmdable, worker string) error {
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, index, worker)
		p.Del(ctx, workerPrefix+worker, statsPrefix+worker)
		return nil
	})
	return err
}

// Workers lists the workers that count as alive. Entries that do not parse are left out: one
// of them must not keep all others from being seen.
func Workers(ctx context.Context, c redis.Cmdable) ([]Worker, error) {
	ids, err := c.ZRange(ctx, index, 0, maxWorkers-1).Result()
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
			continue // it is dead, and the index does not know yet
		}
		if w, ok := parseWorker(ids[i], s); ok {
			ws = append(ws, w)
		}
	}
	return ws, nil
}

// LiveWorker is a worker with how it is doing.
type LiveWorker struct {
	Worker
	Stats    Stats
	LastSeen time.Duration // ago
}

// LiveWorkers lists the workers that count as alive, with how they are doing.
func LiveWorkers(ctx context.Context, c redis.Cmdable) ([]LiveWorker, error) {
	ws, err := Workers(ctx, c)
	if err != nil || len(ws) == 0 {
		return nil, err
	}
	stats := make([]*redis.StringCmd, len(ws))
	left := make([]*redis.DurationCmd, len(ws))
	_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, w := range ws {
			stats[i], left[i] = p.Get(ctx, statsPrefix+w.ID), p.PTTL(ctx, workerPrefix+w.ID)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	live := make([]LiveWorker, len(ws))
	for i, w := range ws {
		live[i].Worker = w
		if data, err := stats[i].Bytes(); err == nil {
			_ = json.Unmarshal(data, &live[i].Stats) // nothing depends on them
		}
		live[i].LastSeen = max(0, Lifetime-max(0, left[i].Val()))
	}
	return live, nil
}
