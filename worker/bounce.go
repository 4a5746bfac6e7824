package worker

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// A delivery whose task is not known here, but elsewhere, stays away from its queue for
	// bounceFirst, and for half as long again each time that it comes here again, up to
	// bounceLast: another worker is idle, or it is not. Each time it is half as much more or
	// less, or two workers could throw each other their calls in step for ever.
	bounceFirst = 20 * time.Millisecond
	bounceLast  = 640 * time.Millisecond
	// bouncesPerSecond is how many come back in all, by the workers of the queue that do
	// not know the task, evenly, so that those who do find the next one whenever they have
	// a slot. Each takes some commands. Up to bouncesAtOnce go at once.
	bouncesPerSecond = 200
	bouncesAtOnce    = 50
	// longestAway is from how many on asynq brings them back, all at once.
	longestAway = 10 * time.Second
	// bouncesKnown bounds the deliveries that are remembered.
	bouncesKnown = 10_000
	// A worker that is busy asks for the next delivery more often than an idle one is woken,
	// so it would get a call that it brings back again and again. It lets others go first while
	// it does, for yieldMost at the most, and for yieldFor after that; and not again within
	// yieldEvery of the end.
	yieldFor   = 5 * time.Millisecond
	yieldMost  = 50 * time.Millisecond
	yieldEvery = 20 * time.Millisecond
	// bounceRings is how many workers are woken for one that comes back, at the most: those
	// that know it. A ring for the queue is heard by whoever listens, and with a dozen idle
	// workers that do not know it each call came back many times.
	bounceRings = 8
	// elsewhereFor is how long it is believed who knows a task.
	elsewhereFor = time.Second
)

// bounces says how long deliveries that are for other workers are to stay away. The zero
// value is ready. It is safe for concurrent use.
type bounces struct {
	mu      sync.Mutex               // guards all below
	waits   map[string]time.Duration // by asynq's task ID, the last
	limiter *rate.Limiter
	beliefs map[stranger]belief

	until atomic.Int64 // it lets others go first until then; Unix time, ns; written with mu held
}

// yield has the worker let others go first while bring returns a delivery to its queue, and
// for a moment after that: by then they have heard the ring. It reports whether it does.
func (b *bounces) yield(bring func()) bool {
	b.mu.Lock()
	now := time.Now()
	yields := now.Sub(time.Unix(0, b.until.Load())) >= yieldEvery
	if yields {
		b.until.Store(now.Add(yieldMost).UnixNano()) // none begins before this one has ended: it would never take anything
	}
	b.mu.Unlock()
	bring()
	if yields {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.until.Store(time.Now().Add(yieldFor).UnixNano())
	}
	return yields
}

// pause waits while others are to go first.
func (b *bounces) pause() {
	for {
		until := b.until.Load()
		if until == 0 { // mostly
			return
		}
		left := time.Until(time.Unix(0, until))
		if left <= 0 {
			return
		}
		time.Sleep(min(left, time.Millisecond)) // the end may move meanwhile
	}
}

// stranger is a task on a queue that this worker does not know.
type stranger struct{ task, queue string }

// belief is what the registry said of a stranger: which workers of the queue know it, and
// how many do not.
type belief struct {
	knowing  []string
	ignorant int
	until    time.Time
}

// some returns those who know it, in any order, and no more than bounceRings of them.
func (b belief) some() []string {
	who := slices.Clone(b.knowing)
	rand.Shuffle(len(who), func(i, j int) { who[i], who[j] = who[j], who[i] })
	return who[:min(len(who), bounceRings)]
}

// ask returns what is believed of the stranger, or what f says if that is too long ago. That
// nobody knows it is never believed: calls fail by it.
func (b *bounces) ask(s stranger, f func(stranger) (knowing []string, ignorant int, err error)) (belief, error) {
	b.mu.Lock()
	old := b.beliefs[s]
	b.mu.Unlock()
	if len(old.knowing) > 0 && time.Now().Before(old.until) {
		return old, nil
	}
	knowing, ignorant, err := f(s)
	if err != nil {
		return belief{}, err
	}
	now := belief{knowing, ignorant, time.Now().Add(elsewhereFor)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.beliefs == nil || len(b.beliefs) >= bouncesKnown { // the names are whatever producers send
		b.beliefs = map[stranger]belief{}
	}
	b.beliefs[s] = now
	return now, nil
}

// next returns how long the delivery is to stay away, and whether it is for us to bring it
// back; there are so many workers that do not know its task.
func (b *bounces) next(taskID string, ignorant int) (wait time.Duration, ours bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	share := rate.Limit(bouncesPerSecond) / rate.Limit(max(1, ignorant))
	if b.limiter == nil {
		b.limiter = rate.NewLimiter(share, bouncesAtOnce)
	} else if b.limiter.Limit() != share {
		b.limiter.SetLimit(share)
	}
	turn := b.limiter.Reserve()
	if turn.Delay() > longestAway {
		turn.Cancel()
		return longestAway, false
	}
	if b.waits == nil || len(b.waits) >= bouncesKnown {
		b.waits = map[string]time.Duration{} // those that are forgotten begin anew
	}
	wait = min(max(bounceFirst, b.waits[taskID]*3/2), bounceLast)
	b.waits[taskID] = wait
	return max(wait/2+rand.N(wait), turn.Delay()), true
}

// askElsewhere is how long knownElsewhere may take.
const askElsewhere = 5 * time.Second

// knownElsewhere asks the registry which other workers know the task.
func (w *worker) knownElsewhere(s stranger) (knowing []string, ignorant int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askElsewhere)
	defer cancel()
	return w.member.Elsewhere(ctx, s.queue, s.task)
}

// bringToOthers returns a delivery that was to wait to its queue, for one of those that know
// it: this worker lets them go first, and is the last to hear of the next one.
func (w *worker) bringToOthers(queue string, d wire.Delivery, b belief) {
	wake := func(ctx context.Context) { w.wakeKnowing(ctx, queue, b) }
	if w.bounces.yield(func() { w.bringBack(queue, d, wake) }) {
		w.bell.listenLast()
	}
}

// wakeKnowing wakes workers that know a delivery which is back in its queue. Where they are
// many, an idle one may not be among them, and whoever listens is woken, too.
func (w *worker) wakeKnowing(ctx context.Context, queue string, b belief) {
	err := record.Wake(ctx, w.rdb, b.some()...)
	if err != nil || len(b.knowing) > bounceRings {
		w.ring(ctx, queue, min(b.ignorant+1, bounceRings))
	}
}
