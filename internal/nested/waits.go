package nested

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// MaxWaits bounds the waits of one worker that others look at. A worker with more publishes
// none, since its heartbeat is to stay small.
const MaxWaits = 1 << 10

// HeldSlot is a slot held by a call that waits for jobs which it has submitted, as its worker
// publishes it.
type HeldSlot struct {
	Job   string `json:"job"` // the call's own
	Chunk int    `json:"chunk"`
	Waits []Wait `json:"waits"` // one, unless the call waits on several goroutines
}

// Wait is a call's wait for a job.
type Wait struct {
	Number int64 `json:"n"` // counted by the worker
	Job
}

// publishAfter is how long a wait must last to be published: most are over by
// then, and cost nothing.
const publishAfter = 500 * time.Millisecond

// Holder is a running chunk. Its calls hold its slot. It is comparable.
type Holder interface {
	// Chunk names the chunk.
	Chunk() (job string, chunk int)
	// Logger returns the chunk's log.
	Logger() *slog.Logger
}

// Waits is what the calls of a worker wait for. The zero value is ready; it is safe for
// concurrent use.
type Waits struct {
	mu   sync.Mutex // guards all below
	last int64
	open map[int64]*wait
}

// wait is a wait that has not ended.
type wait struct {
	holder   Holder
	call     int // its index in the holder's job
	job      Job
	since    time.Time
	deadlock chan error // holds the one error
	failed   bool
}

// Begin notes that a call of the holder waits for a job. end must be called after the wait;
// while it lasts, deadlock may deliver one error.
func (ws *Waits) Begin(h Holder, call int, j Job) (deadlock <-chan error, end func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.last++
	number := ws.last
	w := &wait{holder: h, call: call, job: j, since: time.Now(), deadlock: make(chan error, 1)}
	if ws.open == nil {
		ws.open = map[int64]*wait{}
	}
	ws.open[number] = w
	return w.deadlock, func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		delete(ws.open, number)
	}
}

// EndAll ends all waits of the holder.
func (ws *Waits) EndAll(h Holder) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	maps.DeleteFunc(ws.open, func(_ int64, w *wait) bool { return w.holder == h })
}

// Lasting describes the slots that are held by waits, for the registry of workers.
func (ws *Waits) Lasting() []HeldSlot {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.open) > MaxWaits {
		return nil
	}
	held := map[Holder]*HeldSlot{}
	for _, n := range slices.Sorted(maps.Keys(ws.open)) {
		w := ws.open[n]
		if time.Since(w.since) < publishAfter {
			continue
		}
		h := held[w.holder]
		if h == nil {
			h = &HeldSlot{}
			h.Job, h.Chunk = w.holder.Chunk()
			held[w.holder] = h
		}
		h.Waits = append(h.Waits, Wait{n, w.job})
	}
	slots := make([]HeldSlot, 0, len(held))
	for _, h := range held {
		slots = append(slots, *h)
	}
	slices.SortFunc(slots, func(a, b HeldSlot) int { return cmp.Compare(a.Waits[0].Number, b.Waits[0].Number) })
	return slots
}

// fail ends a wait with an error. It returns nil for a wait that is over, or has an error
// already.
func (ws *Waits) fail(number int64, err error) *wait {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.open[number]
	if w == nil || w.failed {
		return nil
	}
	w.failed = true
	w.deadlock <- err
	return w
}
