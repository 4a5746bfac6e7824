package worker

import (
	"sync"
	"sync/atomic"
	"time"
)

// Where the calls of a task take about the same time, it is known when a slot will be
// free, and the next delivery can be fetched a moment before. What is forecast must be
// worth a round trip, and certain enough that a delivery does not wait here for long:
// what has no slot after stale is given back in any case.
const (
	leadMost     = 3 * time.Millisecond // how long before the end it is fetched, at the most; else a quarter of the chunk's time
	leadTogether = 500 * time.Microsecond
	forecastFrom = time.Millisecond     // shorter chunks are fetched ahead without a forecast
	mostOff      = 5 * time.Millisecond // how far off the end of a chunk may be, on average
	overdueFor   = 10 * time.Millisecond
	// After a forecast that was wrong there are none for this time.
	blindFor = time.Second
)

// pace is what a task's calls take: a moving average, and how far off that is.
// Several chunks may note theirs at once, and one of them be lost.
type pace struct {
	mean, off atomic.Int64 // ns; 0 while nothing is known
}

// note learns from a chunk whose calls took so long each.
func (p *pace) note(took time.Duration) {
	mean, off := p.mean.Load(), p.off.Load()
	if mean == 0 {
		p.off.Store(int64(took))
		p.mean.Store(max(1, int64(took)))
		return
	}
	p.off.Store(off + (max(int64(took)-mean, mean-int64(took))-off)/4)
	p.mean.Store(max(1, mean+(int64(took)-mean)/8))
}

// chunk forecasts how long so many calls take; ok is false when nobody knows.
func (p *pace) chunk(calls int) (took time.Duration, ok bool) {
	mean, off := p.mean.Load(), p.off.Load()
	took = time.Duration(mean * int64(calls))
	return took, mean > 0 && off <= mean/8 && took >= forecastFrom && time.Duration(off*int64(calls)) <= mostOff
}

// forecast is what is known of the ends of the chunks that run.
type forecast struct {
	fetch func() // is called when it is time to fetch for slots that will soon be free

	mu    sync.Mutex              // guards all below
	at    map[*chunkRun]time.Time // when to fetch for its slot
	blind time.Time               // until then, nothing is forecast
	timer *time.Timer
	due   time.Time // when the timer fires; zero when it does not
}

// begin notes that a chunk begins now which will take so long.
func (f *forecast) begin(r *chunkRun, took time.Duration) {
	now := time.Now()
	at := now.Add(took - min(took/4, leadMost))
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Before(f.blind) {
		return
	}
	f.at[r] = at
	f.arm(now, at)
}

// arm has the timer fire by then. It is called with mu held.
func (f *forecast) arm(now, at time.Time) {
	if !f.due.IsZero() && !at.Before(f.due) {
		return
	}
	f.due = at
	if f.timer == nil {
		f.timer = time.AfterFunc(at.Sub(now), f.fire)
	} else {
		f.timer.Reset(at.Sub(now))
	}
}

func (f *forecast) fire() {
	f.mu.Lock()
	now := time.Now()
	f.due = time.Time{}
	var next time.Time
	soon := false
	for _, at := range f.at {
		switch {
		case at.Sub(now) <= leadTogether:
			soon = true
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	if !next.IsZero() {
		f.arm(now, next)
	}
	f.mu.Unlock()
	if soon {
		f.fetch()
	}
}

// end notes that the chunk is over.
func (f *forecast) end(r *chunkRun) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.at, r)
}

// soon is how many slots will be free in a moment.
func (f *forecast) soon() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, n := time.Now(), 0
	for r, at := range f.at {
		switch left := at.Sub(now); {
		case left < -leadMost-overdueFor:
			delete(f.at, r) // nobody knows when
		case left <= leadTogether:
			n++
		}
	}
	return n
}

// stop ends all forecasts.
func (f *forecast) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.at)
	if f.timer != nil {
		f.timer.Stop()
	}
}

// failed notes that what was fetched for slots that would soon be free got none.
func (f *forecast) failed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blind = time.Now().Add(blindFor)
	clear(f.at)
}

// Begin notes that so many calls of the chunk begin now, and when they will end, if that is
// known.
func (r *chunkRun) Begin(calls int) {
	f, p := r.worker.bell.fetcher, r.worker.paces[r.task]
	if f == nil || p == nil {
		return
	}
	r.begun, r.toRun = time.Now(), calls
	if took, ok := p.chunk(r.toRun); ok {
		f.ends.begin(r, took)
		r.foreseen = true
	}
}

// ran learns from the chunk, whose calls have all run.
func (r *chunkRun) ran() {
	if p := r.worker.paces[r.task]; p != nil && r.toRun > 0 && !r.stuck {
		p.note(time.Since(r.begun) / time.Duration(r.toRun))
	}
}
