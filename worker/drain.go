package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/deliver"
)

const (
	// returnTime is how much time there is after the grace to give chunks back whose calls
	// were canceled.
	returnTime = 600 * time.Millisecond
	// lastMoment is how long after the grace the worker ends, whatever still runs.
	lastMoment = 1400 * time.Millisecond
	// farewellTime bounds each step of a worker's goodbye. A worker that did not say it counts
	// as alive for some seconds.
	farewellTime = 3 * time.Second
	// shortFarewell is that where Redis does not answer.
	shortFarewell = time.Second
)

// drain waits for the running calls, and gives back those that take too long. served is closed
// when no more deliveries are taken. deaf says that Redis did not answer.
func (w *worker) drain(served <-chan struct{}) (deaf bool, err error) {
	w.graceEnds.Store(time.Now().Add(w.cfg.Grace).UnixNano())
	grace := time.AfterFunc(w.cfg.Grace, func() { w.abort(deliver.ErrDraining) })
	defer grace.Stop()
	settled := inBackground(func() {
		<-served
		w.consumer.Wait()
	})
	within(w.returnBy().Add(lastMoment-returnTime), settled)
	w.abort(deliver.ErrDraining)
	if !within(time.Now(), served) {
		deaf = true
		w.log.Warn("Redis does not answer; the worker ends without it")
		if !w.ours { // a client of the caller's may be closed once Run returns
			<-served
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n := w.handler.Abandon(ctx); n > 0 {
		return deaf, fmt.Errorf("worker %s: drained, but had to abandon %d chunks: their calls did not end within the grace of %v and its canceled context, or Redis took neither their outcomes nor the chunks back; other workers run them again", w.self.ID, n, w.cfg.Grace)
	}
	return deaf, nil
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
func farewell(deaf bool) time.Duration {
	if deaf {
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
	select {
	case <-over:
		return true
	default:
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-over:
		return true
	case <-timer.C:
		return false
	}
}
