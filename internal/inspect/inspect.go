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

	"github.com/distpool/distpool/internal/broker"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// ErrNoJob says that Redis does not have the job: it was never there, has
// expired, or was forgotten.
var ErrNoJob = errors.New("no such job; it was never here, has expired, or was forgotten")

// Inspector reads a distpool. It is safe for concurrent use.
type Inspector struct {
	rdb   redis.UniversalClient
	asynq *asynq.Inspector
	keys  call.Sealer // opens what is encrypted for previews; nil without keys

	mu      sync.Mutex // guards all below
	skew    time.Duration
	checked time.Time // when skew was measured
}

// New makes an Inspector on a client that stays the caller's.
func New(rdb redis.UniversalClient) *Inspector {
	return &Inspector{rdb: rdb, asynq: asynq.NewInspectorFromRedisClient(rdb)}
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

// address completes the bare name of a job of the default queue to its address.
func address(id string) (string, error) {
	a, err := names.ParseAddress(id, names.DefaultQueue)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNoJob, err)
	}
	return a.String(), nil
}

// Cancel ends a live job. It returns the state after that: Canceled, or Done when
// it came too late. Canceling twice is fine. ErrNoJob says that there is no such
// job.
func (in *Inspector) Cancel(ctx context.Context, id string) (record.State, error) {
	id, err := address(id)
	if err != nil {
		return "", err
	}
	state, err := record.Cancel(ctx, in.rdb, id, CancelReason)
	switch {
	case err != nil:
		return "", fmt.Errorf("canceling job %s: %w", id, err)
	case state == record.Gone:
		return state, fmt.Errorf("canceling job %s: %w", id, ErrNoJob)
	}
	return state, nil
}

// CancelAndWithdraw is Cancel, and takes the deliveries of the job along that nobody has
// taken. Those that it leaves after an error are dropped by workers.
func (in *Inspector) CancelAndWithdraw(ctx context.Context, id string) (record.State, error) {
	state, err := in.Cancel(ctx, id)
	if err != nil || state != record.Canceled {
		return state, err
	}
	if id, err = address(id); err != nil {
		return state, err
	}
	if s, err := record.Read(ctx, in.rdb, id); err == nil && s.State != record.Gone {
		job := broker.Unwanted{Job: record.Ref{ID: id, Gen: s.Gen}, Chunks: make([]int, s.Chunks)}
		for i := range job.Chunks {
			job.Chunks[i] = i
		}
		_ = broker.New(in.rdb).Withdraw(ctx, s.Queue, []broker.Unwanted{job})
	}
	return state, nil
}
