package record

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/bounds"
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
	Version     string         `json:"version,omitempty"` // of distpool, as far as the program knows
	Big         bool           `json:"big,omitempty"`     // it reads arguments that are kept apart, or in the raw form
	Held        []HeldSlot     `json:"held,omitempty"`    // slots whose calls wait for nested jobs, for a while now
}

// HeldSlot is a slot whose call waits for jobs that it has submitted.
type HeldSlot struct {
	Job   string `json:"job"` // the call's own
	Chunk int    `json:"chunk"`
	Waits []Wait `json:"waits"` // one, unless the call waits on several goroutines
}

// Wait is a call's wait for a job.
type Wait struct {
	Number int64  `json:"n"` // counted by the worker
	Job    string `json:"job"`
	Task   string `json:"task"`
	Queue  string `json:"queue"`
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

// remember is how long the index lists a worker that did not describe itself
// again: much longer than the time between two full beats.
const remember = 10 * time.Minute

// Beat says that the worker is alive, and counts as such for ttl. The
// description is sent when full is set; Beat reports whether the registry has
// it afterwards.
func Beat(ctx context.Context, c redis.Cmdable, w Worker, ttl time.Duration, full bool) (bool, error) {
	if !full {
		return c.PExpire(ctx, workerPrefix+w.ID, ttl).Result()
	}
	desc, err := json.Marshal(w)
	if err != nil {
		return false, err
	}
	op := Op{beatScript, []string{workersIndex, workerPrefix + w.ID}, []any{w.ID, ttl.Milliseconds(), desc, remember.Milliseconds()}}
	return true, op.Run(ctx, c).Err()
}

// Depart removes a worker from the registry: it stopped, with nothing running.
func Depart(ctx context.Context, c redis.Cmdable, worker string) error {
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, workersIndex, worker)
		p.Del(ctx, workerPrefix+worker, statsPrefix+worker)
		return nil
	})
	return err
}

// Alive reports whether the worker counts as alive.
func Alive(ctx context.Context, c redis.Cmdable, worker string) (bool, error) {
	n, err := c.Exists(ctx, workerPrefix+worker).Result()
	return n == 1, err
}

// IsRegistryKey reports whether the key belongs to the registry of workers.
func IsRegistryKey(key string) bool { return strings.HasPrefix(key, workersIndex) }

// What a registry entry may claim. It is read by everybody and is not signed: who
// can write to Redis must not be able to bring a producer or worker down with it.
const (
	maxWorkers = 1 << 16
	// MaxWaits is how many waits of one worker are looked at. One with more publishes none.
	MaxWaits = 1 << 10
	// maxDescription is how many bytes a worker's entry may have without its waits.
	maxDescription = 512 << 10
)

// CheckSize says what is wrong with a worker that is too large for the registry.
func (w Worker) CheckSize() error {
	desc, err := json.Marshal(w)
	if err == nil && len(desc) > maxDescription {
		err = fmt.Errorf("the names of its %d tasks and %d queues take %d bytes in the registry of workers, which takes %d; run some of the tasks on other workers, or give them shorter names", len(w.Tasks), len(w.Queues), len(desc), maxDescription)
	}
	return err
}

// parseWorker reads the entry under the ID. ok is false for one that cannot be a
// worker's.
func parseWorker(id, entry string) (w Worker, ok bool) {
	if json.Unmarshal([]byte(entry), &w) != nil || w.ID != id || w.Concurrency < 0 || w.Concurrency > bounds.Slots {
		return Worker{}, false
	}
	waits := 0
	for _, h := range w.Held {
		waits += len(h.Waits)
	}
	if len(w.Held) > w.Concurrency || waits > MaxWaits {
		w.Held = nil // without it, waits of this worker are not taken for a jam
	}
	return w, true
}

// Workers lists the workers that count as alive. Entries that do not parse are left
// out: one of them must not keep all others from being seen.
func Workers(ctx context.Context, c redis.Cmdable) ([]Worker, error) {
	ids, err := c.ZRange(ctx, workersIndex, 0, maxWorkers-1).Result()
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

// Wake has workers that listen for rings look into their queues.
func Wake(ctx context.Context, c redis.UniversalClient, workers ...string) error {
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range workers {
			key := WakeKey(id)
			p.RPush(ctx, key, "1")
			p.LTrim(ctx, key, 0, 0) // one that does not listen is not to find them all
			p.Expire(ctx, key, 10*time.Second)
		}
		return nil
	})
	return err
}
