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
	bouncesPerSecond = 50
	// bouncesKnown bounds the deliveries that are remembered.
	bouncesKnown = 1000
	// elsewhereFor is how long it is believed that another worker knows a task.
	elsewhereFor = time.Second
)

// bounces says how long deliveries that are for other workers are to stay away. The zero
// value is ready. It is safe for concurrent use.
type bounces struct {
	mu        sync.Mutex // guards all below
	times     map[string]int
	limiter   *rate.Limiter
	elsewhere map[elsewhere]time.Time // until when it is believed
}

// elsewhere is a task that another worker of the queue knows.
type elsewhere struct{ task, queue string }

// known asks whether another live worker knows the task, unless it was so a moment ago.
func (b *bounces) known(e elsewhere, ask func() (bool, error)) (bool, error) {
	b.mu.Lock()
	believed := time.Now().Before(b.elsewhere[e])
	b.mu.Unlock()
	if believed {
		return true, nil
	}
	is, err := ask()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.elsewhere == nil || len(b.elsewhere) >= bouncesKnown { // the names are whatever producers send
		b.elsewhere = map[elsewhere]time.Time{}
	}
	if is {
		b.elsewhere[e] = time.Now().Add(elsewhereFor)
	}
	return is, err
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
