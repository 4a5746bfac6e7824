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
	rdb redis.UniversalClient
	log *slog.Logger

	mu        sync.Mutex // guards all below
	leftovers []leftover
	idle      chan struct{} // closed when the sweeping ends; nil while there is none
	cancel    context.CancelFunc
}

// leftover is a job of which something may be left.
type leftover struct {
	lane   string
	job    job.Unwanted
	failed int // chunks whose deliveries are to be removed from the archive; -1: unknown
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
	s.leftovers = append(s.leftovers, l)
	if s.idle == nil {
		ctx, cancel := context.WithCancel(context.Background())
		s.idle, s.cancel = make(chan struct{}), cancel
		go s.run(ctx)
	}
}

func (s *sweeper) run(ctx context.Context) {
	for {
		s.mu.Lock()
		all := s.leftovers
		s.leftovers = nil
		if len(all) == 0 {
			close(s.idle)
			s.cancel()
			s.idle = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		byLane := map[string][]leftover{}
		for _, l := range all {
			byLane[l.lane] = append(byLane[l.lane], l)
		}
		for lane, some := range byLane {
			if err := s.clean(ctx, lane, some); err != nil && ctx.Err() == nil {
				s.log.Debug("removing deliveries of jobs that are over failed; workers drop them", "queue", lane, "error", err)
			}
		}
	}
}

func (s *sweeper) clean(ctx context.Context, lane string, all []leftover) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	var unwanted []job.Unwanted
	failed := map[job.Ref]int{}
	for _, l := range all {
		unwanted = append(unwanted, l.job)
		if l.failed != 0 {
			failed[l.job.Ref] = l.failed
		}
	}
	err := job.DropArguments(ctx, s.rdb, lane, unwanted...)
	err = errors.Join(err, job.Withdraw(ctx, s.rdb, lane, unwanted...))
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
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the sweeping after a while.
func (s *sweeper) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), sweepGrace)
	defer cancel()
	if s.wait(ctx) == nil {
		return
	}
	s.mu.Lock()
	if s.idle != nil {
		s.cancel()
	}
	s.mu.Unlock()
	_ = s.wait(context.Background()) // what is under way has time limits of its own
}
