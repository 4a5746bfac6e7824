package deliver

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/secure"
)

// Handler deals with the deliveries of one worker. Serve, Refuse and all others are for any
// goroutine; the exported fields are set before, and do not change.
type Handler struct {
	Redis    redis.UniversalClient
	Executor *execute.Executor // its MaxDeaths is Budget
	Signer   *signing.Signer   // nil while signing is off
	Waits    *nested.Waits     // of calls, for nested jobs

	// OnRefused is told of what is refused because of its signature; it may be nil.
	OnRefused func(secure.Refusal)
	// Yield lets other workers go first: the lane rests here. Unused if Hosted.
	Yield func(lane string, rest time.Duration)
	// Hosted says that an asynq.Server takes the deliveries, and ends them as Deliver tells it. A
	// chunk that is given back gets a new delivery then.
	Hosted bool

	// Calls is the context of all calls. When it ends, what has not run is given back until ReturnBy.
	Calls    context.Context
	ReturnBy func() time.Time
	Drains   <-chan struct{} // closed when no more deliveries are taken
	Gone     <-chan struct{} // closed when the worker has ended

	busy     atomic.Int64 // slots that are taken
	recorder *recorder
	fleet    *fleet.View
	strangers
	chunks
}

// Budget is how many workers may die in a chunk before a call of it is given up.
const Budget = 3

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
	h.running, h.rests = map[chunkKey]*chunkRun{}, map[string]rest{}
}

// Busy is the number of slots that are taken.
func (h *Handler) Busy() int { return int(h.busy.Load()) }
