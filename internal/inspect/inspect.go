// Package inspect reads what people want to know of a distpool: the recent jobs
// (jobs.go), one job with its chunks and its failed calls (job.go, cells.go,
// failed.go), the workers and the queues (fleet.go), and what a delivery is about
// (preview.go). The monitor and the command line are built on it.
//
// It works on a single Redis, on Sentinel and on a Cluster. What it reads is
// bounded, however large jobs are, so that looking does not harm the work: each
// function says by what.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// ErrNoJob says that Redis does not have the job: it was never there, has
// expired, or was forgotten.
var ErrNoJob = errors.New("no such job; it was never here, has expired, or was forgotten")

// Inspector reads a distpool. It is safe for concurrent use.
type Inspector struct {
	rdb    redis.UniversalClient
	asynq  *asynq.Inspector
	router *lanes.Router
	keys   call.Sealer // opens what is encrypted for previews; nil without keys

	mu      sync.Mutex // guards all below
	skew    time.Duration
	checked time.Time // when skew was measured
}

// New makes an Inspector on a client that stays the caller's.
func New(rdb redis.UniversalClient) *Inspector {
	return &Inspector{rdb: rdb, asynq: asynq.NewInspectorFromRedisClient(rdb), router: lanes.NewRouter(rdb).Reading()}
}

// SetKeys has previews show what is encrypted with keys of the ring. Without it, or
// with an empty ring, they say that it is encrypted. Signatures are not checked. Call
// it before the Inspector is used.
func (in *Inspector) SetKeys(ring secure.Keyring) {
	in.keys = nil
	if !ring.IsZero() {
		in.keys = secure.Encrypt(tasks.JSON, secure.From(ring))
	}
}

// skewFor is how long a measured difference of clocks is used.
const skewFor = time.Minute

// Now is the time by the clock of Redis, which all times in records are by. It
// asks once a minute.
func (in *Inspector) Now(ctx context.Context) (time.Time, error) {
	in.mu.Lock()
	skew, known := in.skew, time.Since(in.checked) <= skewFor
	in.mu.Unlock()
	if !known { // asked without the lock: while Redis is away, callers must not wait for each other
		began := time.Now()
		t, err := in.rdb.Time(ctx).Result()
		if err != nil {
			return time.Time{}, fmt.Errorf("asking Redis for the time: %w", err)
		}
		now := time.Now()
		skew = t.Sub(began.Add(now.Sub(began) / 2))
		in.mu.Lock()
		in.skew, in.checked = skew, now
		in.mu.Unlock()
	}
	return time.Now().Add(skew), nil
}

// CancelReason is what canceled jobs say when a person canceled them.
const CancelReason = "canceled by an operator"

// find completes what a person names a job by, of which a bare name is of the default queue,
// and looks for the job's lane.
func (in *Inspector) find(ctx context.Context, id string) (a names.Address, lane string, err error) {
	if a, err = names.ParseAddress(id, names.DefaultQueue); err != nil {
		return a, "", fmt.Errorf("%w (%w)", ErrNoJob, err)
	}
	lane, err = in.router.Find(ctx, a.Queue, a.Name)
	return a, lane, err
}

// Cancel ends a live job. It returns the state after that: Canceled, or Done when
// it came too late. Canceling twice is fine. ErrNoJob says that there is no such
// job.
func (in *Inspector) Cancel(ctx context.Context, id string) (job.State, error) {
	a, lane, err := in.find(ctx, id)
	if err != nil {
		return "", fmt.Errorf("canceling job %s: %w", id, err)
	}
	state, _, err := in.cancel(ctx, a, lane)
	return state, err
}

// cancel ends a live job and removes its arguments. It says what else nothing runs any more.
func (in *Inspector) cancel(ctx context.Context, a names.Address, lane string) (job.State, job.Unwanted, error) {
	var unwanted job.Unwanted
	states, err := job.Cancel(ctx, in.rdb, lane, CancelReason, job.Ref{Name: a.Name, Gen: job.AnyGen})
	switch {
	case err != nil:
		return "", unwanted, fmt.Errorf("canceling job %s: %w", a, err)
	case states[0] == job.Gone:
		return states[0], unwanted, fmt.Errorf("canceling job %s: %w", a, ErrNoJob)
	case states[0] == job.Broken:
		return states[0], unwanted, fmt.Errorf("canceling job %s: its record is damaged", a)
	}
	if s, err := job.Read(ctx, in.rdb, lane, a.Name); err == nil && s.State == job.Canceled {
		unwanted = job.Unwanted{Ref: s.Ref, Chunks: make([]int, min(s.Chunks, maxWithdrawn))}
		for i := range unwanted.Chunks {
			unwanted.Chunks[i] = i
		}
		_ = job.DropArguments(ctx, in.rdb, lane, unwanted) // what it leaves goes with the record
	}
	return states[0], unwanted, nil
}

// maxWithdrawn bounds the chunks whose arguments and deliveries are looked for, whatever a record says.
const maxWithdrawn = 10_000_000

// CancelAndWithdraw is Cancel, and takes the deliveries of the job along that no worker has
// taken, and its arguments. Deliveries that it leaves after an error are dropped by workers.
func (in *Inspector) CancelAndWithdraw(ctx context.Context, id string) (job.State, error) {
	a, lane, err := in.find(ctx, id)
	if err != nil {
		return "", fmt.Errorf("canceling job %s: %w", id, err)
	}
	state, unwanted, err := in.cancel(ctx, a, lane)
	if err == nil && state == job.Canceled {
		_ = job.Withdraw(ctx, in.rdb, lane, unwanted)
	}
	return state, err
}
