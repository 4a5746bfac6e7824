package deliver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/secure"
)

// Handler deals with the deliveries of one worker. Its methods are for any goroutine; the exported
// fields are set before, and do not change.
type Handler struct {
	Redis    redis.UniversalClient
	Executor *execute.Executor // its MaxDeaths is Budget
	Signer   *signing.Signer   // nil while signing is off

	// OnRefused is told of what is refused because of its signature; it may be nil.
	OnRefused func(secure.Refusal)
	// Yield lets other workers go first: the lane rests here. Unused if Hosted.
	Yield func(lane string, rest time.Duration)
	// Hosted says that an asynq.Server takes the deliveries, and ends them as Deliver tells it. A
	// chunk that is given back gets a new delivery then.
	Hosted bool

	// Calls is the context of all calls. When it ends, what has not run is given back, until Returns
	// ends.
	Calls, Returns context.Context

	busy     atomic.Int64 // slots that are taken
	recorder *recorder
	fleet    *fleet.View

	mu      sync.Mutex             // guards all below
	running map[chunkKey]*chunkRun // and those that Redis did not take back
}

type chunkKey struct {
	lane  string
	job   job.Ref
	chunk int
}

// Budget is how many workers may die in a chunk before a call of it is given up.
const Budget = 3

const (
	// checkAtOnce is how many chunks share a question whether they are to go on.
	checkAtOnce = 64
	// mostListed bounds what asynq's tools list: each listing writes all of it anew.
	mostListed = 1000
)

// The causes for which a call's context is canceled.
var (
	// ErrDraining is the cause with which the worker ends Calls.
	ErrDraining = errors.New("the worker is shutting down")

	errJobEnded = errors.New("the job was canceled")
	errNotOurs  = errors.New("another worker has taken the chunk over")
)

// Start makes the Handler ready for a worker of so many slots.
func (h *Handler) Start(slots int) {
	h.recorder = newRecorder(h.Redis, h.Executor.Worker, slots)
	h.fleet = fleet.NewView(h.Redis)
	h.running = map[chunkKey]*chunkRun{}
}

// Busy is the number of slots that are taken.
func (h *Handler) Busy() int { return int(h.busy.Load()) }

func (h *Handler) draining() bool { return h.Executor.Serving.Err() != nil }

// enlist notes that the chunk runs here. If it does already, it reports false, and the delivery is
// given back after that run.
func (h *Handler) enlist(r *chunkRun) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other, ok := h.running[r.key()]; ok {
		other.twins = append(other.twins, r)
		return false
	}
	h.running[r.key()] = r
	return true
}

// delist notes that the chunk does not run here any more, and returns its other deliveries.
func (h *Handler) delist(r *chunkRun) (twins []*chunkRun) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[r.key()] != r {
		return nil
	}
	delete(h.running, r.key())
	return r.twins
}

// all returns the chunks that run, the oldest first.
func (h *Handler) all() []*chunkRun {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.running), func(a, b *chunkRun) int { return a.started.Compare(b.started) })
}

// Running is what runs here, as asynq lists it; the oldest of much.
func (h *Handler) Running() []asynqfmt.Running {
	all := h.all()
	listed := make([]asynqfmt.Running, min(len(all), mostListed))
	for i := range listed {
		r := all[i]
		listed[i] = asynqfmt.Running{
			TaskID: r.TaskID, Type: r.chunk.Task, Payload: job.Payload(r.lane, r.Delivery), Queue: r.lane, Started: r.started, Deadline: r.started.AddDate(10, 0, 0),
		}
	}
	return listed
}

// Ended cancels the calls of a job that ended before its time.
func (h *Handler) Ended(lane string, ended job.Ref) {
	for _, r := range h.all() {
		if r.lane == lane && r.Ref == ended {
			r.cancel(errJobEnded)
		}
	}
}

// Cancel cancels the job of a delivery that runs here, by asynq's task ID.
func (h *Handler) Cancel(taskID, why string) {
	for _, r := range h.all() {
		if r.TaskID == taskID {
			go r.cancelJob(why)
		}
	}
}

// Check asks about the chunks that run for longer than that whether they are to go on, for
// announcements can get lost. It gives up after the time within.
func (h *Handler) Check(ctx context.Context, longer, within time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	byLane := map[string][]*chunkRun{}
	for _, r := range h.all() {
		if time.Since(r.started) > longer {
			byLane[r.lane] = append(byLane[r.lane], r)
		}
	}
	for lane, rs := range byLane {
		for some := range slices.Chunk(rs, checkAtOnce) {
			asked := make([]job.Saved, len(some))
			for i, r := range some {
				asked[i].Delivery = r.Delivery
			}
			states, err := job.Checkpoint(ctx, h.Redis, lane, h.Executor.Worker, asked...)
			if err != nil {
				h.Executor.Log.Debug("asking for the state of running jobs failed", "error", err)
				break
			}
			for i, state := range states {
				some[i].heed(state)
			}
		}
	}
}

// heed cancels the calls of a chunk that is not to go on.
func (r *chunkRun) heed(s job.State) {
	switch {
	case s == job.Broken:
		r.cancel(errDamaged)
	case s == job.LostOwnership:
		r.cancel(errNotOurs)
	case s.Ended() && s != job.Unstored:
		r.cancel(errJobEnded)
	}
}

// Abandon gives back what still runs, or what Redis has not taken back, without what it has. It
// returns how many chunks these are.
func (h *Handler) Abandon(ctx context.Context) int {
	left := h.all()
	for _, r := range left {
		_, _ = r.send(ctx, r.returned(nil, 0, job.Head))
	}
	return len(left)
}
