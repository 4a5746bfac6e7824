package submit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
)

const (
	// sweepTime bounds a sweep, and sweepGrace what the end of a pool waits for it.
	sweepTime  = time.Minute
	sweepGrace = 5 * time.Second
	// archivedWithin bounds the wait for a failed delivery of a job that was forgotten: its
	// worker archives it a moment after it has recorded the outcomes.
	archivedWithin = time.Second
)

// sweeper removes from asynq what is left of jobs that ended before their time, or were
// forgotten: one sweep for all that gather while another one is under way. Workers drop
// such deliveries, too, but only when they meet them.
type sweeper struct {
	rdb    redis.UniversalClient
	log    *slog.Logger
	ctx    context.Context // ends when the pool has waited for long enough
	cancel context.CancelFunc

	mu        sync.Mutex            // guards all below
	leftovers map[string][]leftover // by lane
	idle      chan struct{}         // closed when the sweeping ends; nil while there is none
}

// leftover is a job of which something may be left.
type leftover struct {
	lane   string
	job    job.Unwanted
	failed int // chunks whose deliveries are to be removed from the archive; -1: unknown
}

func newSweeper(rdb redis.UniversalClient, log *slog.Logger) *sweeper {
	s := &sweeper{rdb: rdb, log: log, leftovers: map[string][]leftover{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// sweep is await.Config.Sweep.
func (s *sweeper) sweep(j *await.Job, forgotten bool) {
	l := leftover{lane: j.Lane, job: job.Unwanted{Ref: j.Ref, Chunks: j.Unfinished()}}
	if forgotten {
		l.failed = j.FailedChunks()
	}
	if len(l.job.Chunks) > 0 || l.failed != 0 {
		s.add(l)
	}
}

func (s *sweeper) add(l leftover) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leftovers[l.lane] = append(s.leftovers[l.lane], l)
	if s.idle == nil {
		s.idle = make(chan struct{})
		go s.run()
	}
}

func (s *sweeper) run() {
	for {
		s.mu.Lock()
		all := s.leftovers
		s.leftovers = map[string][]leftover{}
		if len(all) == 0 {
			close(s.idle)
			s.idle = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for lane, some := range all {
			if err := s.clean(lane, some); err != nil && s.ctx.Err() == nil {
				s.log.Debug("removing deliveries of jobs that are over failed; workers drop them", "queue", lane, "error", err)
			}
		}
	}
}

func (s *sweeper) clean(lane string, all []leftover) error {
	ctx, cancel := context.WithTimeout(s.ctx, sweepTime)
	defer cancel()
	unwanted := make([]job.Unwanted, len(all))
	failed := map[job.Ref]int{}
	for i, l := range all {
		unwanted[i] = l.job
		if l.failed != 0 {
			failed[l.job.Ref] = l.failed
		}
	}
	err := errors.Join(job.DropArguments(ctx, s.rdb, lane, unwanted...), job.Withdraw(ctx, s.rdb, lane, unwanted...))
	for until, wait := time.Now().Add(archivedWithin), 10*time.Millisecond; len(failed) > 0 && err == nil; wait *= 2 {
		var found map[job.Ref]int
		found, err = job.WithdrawFailed(ctx, s.rdb, lane, failed)
		for ref, n := range found {
			if failed[ref] -= n; failed[ref] == 0 {
				delete(failed, ref)
			}
		}
		if len(failed) == 0 || time.Now().After(until) {
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

// wait waits for the sweeping to end.
func (s *sweeper) wait(ctx context.Context) error {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	return await.Until(ctx, idle)
}

// stop ends the sweeping after a while. What is under way then has time limits of its own.
func (s *sweeper) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), sweepGrace)
	defer cancel()
	_ = s.wait(ctx)
	s.cancel()
	_ = s.wait(context.Background())
}
