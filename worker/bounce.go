package worker

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// A delivery whose task is not known here, but elsewhere, comes back to its queue after
	// bounceFirst, and after twice as long each time that it comes here again: another
	// worker is idle, or it is not. From bounceLast on asynq brings it back, in batches.
	bounceFirst = 20 * time.Millisecond
	bounceLast  = time.Second
	// bouncesPerSecond is how many are brought back by us, which takes some commands each.
	bouncesPerSecond = 100
	// bouncesKnown bounds the deliveries that are remembered.
	bouncesKnown = 1000
)

// bounces says how long deliveries that are for other workers are to stay away. The zero
// value is ready. It is safe for concurrent use.
type bounces struct {
	mu      sync.Mutex // guards all below
	times   map[string]int
	limiter *rate.Limiter
}

// next returns how long the delivery is to stay away, and whether it is for us to bring
// it back.
func (b *bounces) next(taskID string) (wait time.Duration, ours bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limiter == nil {
		b.limiter = rate.NewLimiter(bouncesPerSecond, bouncesPerSecond)
	}
	if b.times == nil || len(b.times) >= bouncesKnown {
		b.times = map[string]int{} // those that are forgotten begin anew
	}
	wait = min(bounceFirst<<b.times[taskID], bounceLast)
	if wait == bounceLast || !b.limiter.Allow() {
		return bounceLast, false
	}
	b.times[taskID]++
	return wait, true
}
