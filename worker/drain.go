package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/record"
)

const (
	// asynq gives a task back to its queue when it still runs this long after the
	// grace, in which calls that were canceled may return.
	lastMoment = 800 * time.Millisecond
	// returnTime is how much of that there is to give their chunks back.
	returnTime = 600 * time.Millisecond
	// farewellTime bounds each step of a worker's goodbye. A worker that did not say it counts
	// as alive for some seconds.
	farewellTime = 3 * time.Second
	// shortFarewell is that where Redis does not answer.
	shortFarewell = time.Second
)

// drain stops taking deliveries, waits for the running calls, and gives back
// those that take too long.
func (w *worker) drain(srv *asynq.Server) error {
	w.draining.Store(true)
	w.graceEnds.Store(time.Now().Add(w.cfg.Grace).UnixNano())
	w.bell.close()
	grace := time.AfterFunc(w.cfg.Grace, func() { w.abort(errDraining) })
	defer grace.Stop()
	// It waits for the handlers, and for requests of its own, which a Redis that does not
	// answer holds up for much longer. A client of the caller's may be closed once Run
	// returns, so with that there is no way around it.
	if ended := inBackground(srv.Shutdown); w.ours && !within(w.returnBy().Add(lastMoment), ended) {
		w.log.Warn("Redis does not answer; the worker ends without it")
		w.asynqEnds = ended
	} else {
		<-ended
		w.bell.unsubscribe()
	}
	w.settle(w.calls)
	w.abort(errDraining)
	// What could not be recorded by then is given back.
	end, cancelEnd := context.WithDeadline(context.Background(), w.returnBy())
	w.settle(end)
	cancelEnd()
	w.mu.Lock()
	left := slices.Collect(maps.Keys(w.running))
	abandoned := maps.Clone(w.unreturned)
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, k := range left {
		abandoned[k] = true
		_, _ = record.Release(ctx, w.rdb, k.job, k.chunk, w.self.ID, nil, 0)
	}
	if n := len(abandoned); n > 0 {
		return fmt.Errorf("worker %s: drained, but had to abandon %d chunks: their calls did not end within the grace of %v and its canceled context, or Redis took neither their outcomes nor the chunks back; other workers run them again", w.self.ID, n, w.cfg.Grace)
	}
	return nil
}

// settle waits until every delivery has been dealt with, or ctx ends. asynq does not wait
// for a delivery after it has given up the lease.
func (w *worker) settle(ctx context.Context) {
	w.handlers.wait(ctx)
	if w.finisher != nil {
		w.finisher.wait(ctx)
		w.bell.fetcher.wait(ctx)
	}
}

// returnBy is until when chunks that did not end may be given back.
func (w *worker) returnBy() time.Time {
	ends := time.Now().Add(w.cfg.Grace) // of the drain that is about to begin
	if at := w.graceEnds.Load(); at > 0 {
		ends = time.Unix(0, at)
	}
	return ends.Add(returnTime)
}

// farewell is how long a step of the goodbye may take.
func (w *worker) farewell() time.Duration {
	if w.asynqEnds != nil {
		return shortFarewell
	}
	return farewellTime
}

// inBackground runs f, and closes the channel when it has returned.
func inBackground(f func()) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	return over
}

// within waits for over to be closed until then, and reports whether it was.
func within(until time.Time, over <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-over:
		return true
	case <-timer.C:
		return false
	}
}

// depart takes the worker off the registry, and its supervisor out of office.
func (w *worker) depart(s *supervisor) {
	ctx, cancel := context.WithTimeout(context.Background(), w.farewell())
	defer cancel()
	s.resign(ctx)
	w.bell.forget(ctx)
	if err := w.member.Leave(ctx); err != nil {
		w.log.Warn("leaving the registry of workers failed; it forgets this worker by itself", "error", err)
	}
}
