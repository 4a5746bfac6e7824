package await

import (
	"time"

	"github.com/distpool/distpool/observe"
)

// Origin is where a job comes from, as far as observers want to know. It is set
// before the job is tracked.
type Origin struct {
	Verb  observe.Verb
	Since time.Time // the submission's begin; zero without observers
}

// SetObserve has the hub tell f of each job that is settled, before anybody else
// can know. It must come before the first job.
func (h *Hub) SetObserve(f func(*Job)) { h.observe = f }

// Waiting is the number of jobs that are not settled.
func (h *Hub) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.jobs)
}
