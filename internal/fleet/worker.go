package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/nested"
)

// Worker describes a worker process. It is what the registry holds.
type Worker struct {
	ID          string            `json:"id"`
	Host        string            `json:"host"`
	PID         int               `json:"pid"`
	Concurrency int               `json:"concurrency"` // slots
	Queues      map[string]int    `json:"queues"`      // name -> weight
	Tasks       []string          `json:"tasks"`       // names, sorted
	Started     time.Time         `json:"started"`
	Version     string            `json:"version,omitempty"` // of distpool; empty if the program does not know
	Held        []nested.HeldSlot `json:"held,omitempty"`    // slots that are held by lasting waits for nested jobs
}

// Serves reports whether the worker takes deliveries from the queue.
func (w Worker) Serves(queue string) bool { return w.Queues[queue] > 0 }

// Knows reports whether the worker can run the task.
func (w Worker) Knows(task string) bool { return slices.Contains(w.Tasks, task) }

// Bounds of what an entry may claim. It is read by every program and is not signed: write access
// to Redis must not be enough to bring a producer or worker down.
const (
	maxWorkers = 1 << 16
	// maxDescription is how many bytes an entry may have without its waits.
	maxDescription = 512 << 10
)

// CheckSize returns an error for a worker that is too large for the registry.
func (w Worker) CheckSize() error {
	desc, err := json.Marshal(w)
	if err == nil && len(desc) > maxDescription {
		err = fmt.Errorf("the names of its %d tasks and %d queues take %d bytes in the registry of workers, which takes %d; run some of the tasks on other workers, or give them shorter names", len(w.Tasks), len(w.Queues), len(desc), maxDescription)
	}
	return err
}

// parseWorker reads the entry under the ID. It reports false for an entry that cannot be a
// worker's.
func parseWorker(id, entry string) (Worker, bool) {
	var w Worker
	if json.Unmarshal([]byte(entry), &w) != nil || w.ID != id || w.Concurrency < 0 || w.Concurrency > bounds.Slots {
		return Worker{}, false
	}
	waits := 0
	for _, h := range w.Held {
		waits += len(h.Waits)
	}
	if len(w.Held) > w.Concurrency || waits > nested.MaxWaits {
		w.Held = nil // without it, waits of this worker are not taken for a deadlock
	}
	return w, true
}
