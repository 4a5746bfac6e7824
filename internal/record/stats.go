package record

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Stats is how a worker is doing. It is for people: nothing that must work reads
// it.
type Stats struct {
	Busy   int     `json:"busy"`             // slots with a chunk
	Calls  int64   `json:"calls"`            // that ended since it started, counting each attempt
	Failed int64   `json:"failed,omitempty"` // that failed for good
	Took   int64   `json:"took,omitempty"`   // what calls took, added up, ms
	Rate   float64 `json:"rate"`             // calls per second, over the last ten seconds or so
	// History is how many calls ended in each of the last quarters of a minute, the
	// latest last; what has not passed yet is not in it. Until is when the last of
	// them ended, by the worker's clock (Unix time, s).
	History []int64 `json:"hist,omitempty"`
	Until   int64   `json:"until,omitempty"`
}

// HistoryStep is the time that each number of Stats.History is about.
const HistoryStep = 15 * time.Second

// Report publishes how a worker is doing.
func Report(ctx context.Context, c redis.Cmdable, worker string, s Stats) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return c.Set(ctx, statsPrefix+worker, data, remember).Err()
}

// LiveWorker is a worker with how it is doing.
type LiveWorker struct {
	Worker
	Stats    Stats
	LastSeen time.Duration // ago
}

// LiveWorkers lists the workers that count as alive, with how they are doing.
// lifetime is what they give themselves with each heartbeat.
func LiveWorkers(ctx context.Context, c redis.Cmdable, lifetime time.Duration) ([]LiveWorker, error) {
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
			_ = json.Unmarshal(data, &live[i].Stats) // an older worker publishes none, and nothing depends on them
		}
		live[i].LastSeen = max(0, lifetime-max(0, left[i].Val()))
	}
	return live, nil
}
