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
	defer w.returns.end(deliver.ErrDraining)
	defer time.AfterFunc(w.cfg.Grace, func() { w.calls.end(deliver.ErrDraining) }).Stop()
	defer time.AfterFunc(w.cfg.Grace+returnTime, func() { w.returns.end(deliver.ErrDraining) }).Stop()
	within(w.cfg.Grace+lastMoment, inBackground(func() {
		<-served
		w.consumer.Wait()
	}))
	w.calls.end(deliver.ErrDraining)
	if !within(0, served) {
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

// inBackground runs f, and closes the channel when it has returned.
func inBackground(f func()) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	return over
}

// within waits for so long for over to be closed, and reports whether it was.
func within(d time.Duration, over <-chan struct{}) bool {
	select {
	case <-over:
	case <-time.After(d):
	}
	select {
	case <-over:
		return true
	default:
		return false
	}
}
