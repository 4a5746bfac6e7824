package worker

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/record"
)

// handTime is how long a delivery may take from the fetcher to the handler before
// it is no longer counted on: asynq drops one that it cannot decode.
const handTime = time.Second

// suspectFor is how long after a fetch whose reply was lost its deliveries are
// looked for: a server that hung may run it late.
const suspectFor = time.Minute

// ownFor is how long after it was fetched the begin of a chunk still stands. A worker
// that stood still for longer may have been taken for dead, and the chunk be another's,
// or recorded: the record is asked again.
const ownFor = fleet.Lifetime - fleet.BeatEvery

// arriveFor is how long after it was fetched a delivery may be on its way to running by
// that begin: ownFor until it has its slot, and then what knownElsewhere takes.
const arriveFor = ownFor + askElsewhere

const (
	// Where calls are short, deliveries are fetched ahead, for so much time.
	aheadFor  = 500 * time.Microsecond
	mostAhead = 256
	// One that was fetched ahead and has got no slot by then is given back.
	stale = 20 * time.Millisecond
)

// fetcher takes deliveries from the queues, for all free slots in one round trip,
// and begins their chunks with it where the record allows that. asynq asks for one
// delivery at a time: it is handed those that were fetched, one after the other.
//
// There are no more of them than slots that are free, so that none waits here while
// another worker could run it; with two exceptions. While chunks take less time than a
// round trip does, the next ones are fetched before the slots are free; and so they are
// for slots of which it is known that they will be free in a moment, see forecast.go. But
// only those for which no worker is idle, and what has no slot within a moment after all
// is given back.
//
// It works on a single server only. Elsewhere asynq's own requests pass.
type fetcher struct {
	rdb    redis.UniversalClient
	worker string
	size   int        // slots in all
	slots  func() int // that are free
	pause  func()     // waits while other workers are to fetch first; nil: none are
	queues []weighted // heaviest first
	strict bool
	took   atomic.Int64 // what a chunk takes: a moving average, ns; 0 while none has run
	ends   forecast     // when slots will be free

	fetching sync.Mutex // held while a fetch is under way; before mu

	mu      sync.Mutex // guards all below
	closed  bool
	fetched []record.Fetched      // not handed out yet
	since   time.Time             // when the last of them came
	handed  map[string]hand       // handed out to asynq, and not at the handler yet; by asynq's task ID
	held    map[string]deliveries // that are here and not over, by their chunk: see chunkOf
	dry     bool                  // the last fetch found the queues empty, and nobody has listened since
	plenty  bool                  // the last fetch got all that it asked for
	under   tally                 // what is done in the background
	refill  chan struct{}         // closed when the fetch ahead that is under way is over; nil without one
	watched bool                  // a timer looks whether what was fetched ahead gets slots
	suspect time.Time             // until then, deliveries may be ours without our knowing
}

type weighted struct {
	queue  string
	weight int
}

type hand struct {
	begun *record.Begun
	asked time.Time // when it was fetched
	at    time.Time // when it was handed out
}

func newFetcher(rdb redis.UniversalClient, worker string, cfg Config, slots func() int) *fetcher {
	f := &fetcher{
		rdb: rdb, worker: worker, size: cfg.Concurrency, slots: slots, strict: cfg.StrictPriority,
		handed: map[string]hand{}, held: map[string]deliveries{},
		ends: forecast{at: map[*chunkRun]time.Time{}},
	}
	f.ends.fetch = f.fetchSoon
	for q, w := range cfg.Queues {
		f.queues = append(f.queues, weighted{q, w})
	}
	slices.SortFunc(f.queues, func(a, b weighted) int { return b.weight - a.weight })
	return f
}

// answer is what the fetcher knows of a queue.
type answer int

const (
	unknown  answer = iota // it has to fetch
	silent                 // all queues came back empty the last time: it is time to listen
	handOut                // here is a delivery
	noneHere               // this queue has none; asynq asks the others next
)

// ask answers asynq's request for a delivery of the queue from what is here.
func (f *fetcher) ask(queue string) (msg string, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, d := range f.fetched {
		if d.Queue == queue {
			f.fetched = slices.Delete(f.fetched, i, i+1)
			f.handed[d.TaskID] = hand{d.Begun, d.Asked, time.Now()}
			f.fetchAhead()
			return d.Msg, handOut
		}
	}
	switch {
	case len(f.fetched) > 0:
		return "", noneHere
	case f.dry:
		return "", silent
	}
	return "", unknown
}

// listened is told that a ring was listened for: there may be something now.
func (f *fetcher) listened() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dry = false
}

// free is the number of slots for which nothing is here.
func (f *fetcher) free() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unclaimed()
}

// unclaimed is free with mu held.
func (f *fetcher) unclaimed() int {
	for id, h := range f.handed {
		if time.Since(h.at) > handTime {
			delete(f.handed, id)
		}
	}
	return f.slots() - len(f.handed) - len(f.fetched)
}

// note learns how long a chunk held its slot.
func (f *fetcher) note(took time.Duration) {
	// Several may do this at once, and one of them be lost: it is an average.
	was := f.took.Load()
	if was == 0 {
		was = int64(took)
	}
	f.took.Store(max(1, was+(int64(took)-was)/8))
}

// ahead is how many deliveries to have beyond the free slots.
func (f *fetcher) ahead() int {
	took := time.Duration(f.took.Load())
	// The order among queues would suffer.
	if took == 0 || took > aheadFor || len(f.queues) > 1 {
		return 0
	}
	return min(mostAhead, f.size*int(aheadFor/took))
}

// soon is how many slots will be free in a moment, as far as that is known.
func (f *fetcher) soon() int {
	if len(f.queues) > 1 {
		return 0 // as for ahead
	}
	return f.ends.soon()
}

// fetchAhead fetches in the background when what is here runs low and there is
// likely to be more. It is called with mu held.
func (f *fetcher) fetchAhead() {
	ahead := f.ahead()
	if 2*len(f.fetched) <= ahead {
		f.refillInBackground()
	}
}

// fetchSoon fetches in the background for slots that will soon be free.
func (f *fetcher) fetchSoon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refillInBackground()
}

// refillInBackground is called with mu held.
func (f *fetcher) refillInBackground() {
	if !f.plenty || f.closed || f.refill != nil {
		return
	}
	done := make(chan struct{})
	f.refill = done
	f.under.run(func() {
		_ = f.fetch(context.Background()) // who finds nothing asks itself
		f.mu.Lock()
		f.refill = nil
		f.mu.Unlock()
		close(done)
	})
}

// underWay returns a channel that closes when the fetch ahead is over; nil when there
// is none.
func (f *fetcher) underWay() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refill
}

// fetch takes deliveries for the slots for which nothing is here. They are counted once
// no other fetch is under way, since what that one brings has slots of its own.
func (f *fetcher) fetch(ctx context.Context) error {
	if f.pause != nil {
		f.pause()
	}
	f.fetching.Lock()
	defer f.fetching.Unlock()
	n := f.free()
	// Those for slots that are still taken are fetched ahead too.
	more := max(f.ahead(), f.soon()) + min(0, n)
	n = max(0, n)
	if n+more <= 0 || !f.enter() {
		return nil
	}
	defer f.under.end()
	ds, err := record.Fetch(ctx, f.rdb, f.worker, f.shares(n), n, max(0, more), lease)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plenty = err == nil && len(ds) > 0 && len(ds) >= n
	f.dry = err == nil && len(ds) < n
	if err != nil {
		f.suspect = time.Now().Add(suspectFor)
		return err
	}
	for _, d := range ds {
		c := chunkOf(d.TaskID)
		f.held[c] = deliveries{f.held[c].n + 1, d.Asked}
	}
	if f.closed {
		f.returnLater(ds)
		return nil
	}
	f.fetched = append(f.fetched, ds...)
	f.since = time.Now()
	// A slot that was free when the fetch began may be taken by now.
	surplus := len(ds) > n || len(ds) > 0 && f.unclaimed() < 0
	if surplus && !f.watched {
		f.watched = true
		time.AfterFunc(stale, f.watch)
	}
	return nil
}

// enter counts a fetch as something to wait for; false when it must not begin any more.
func (f *fetcher) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.under.begin()
	}
	return !f.closed
}

// shares divides n requests among the queues as asynq would, were they made one by
// one: each of them asks the queues in a random order, the heavy ones first more
// often; or always in the order of their weights, with strict priority.
func (f *fetcher) shares(n int) []record.Share {
	if len(f.queues) == 1 || f.strict {
		ss := make([]record.Share, len(f.queues))
		for i, q := range f.queues {
			ss[i].Queue = q.queue
		}
		ss[0].N = n
		return ss
	}
	ss := make([]record.Share, 0, len(f.queues))
	for left := slices.Clone(f.queues); len(left) > 0; {
		i := draw(left)
		ss = append(ss, record.Share{Queue: left[i].queue})
		left = slices.Delete(left, i, i+1)
	}
	for range n {
		first := f.queues[draw(f.queues)].queue
		for i := range ss {
			if ss[i].Queue == first {
				ss[i].N++
			}
		}
	}
	return ss
}

// draw draws one of the queues, by their weights.
func draw(qs []weighted) int {
	total := 0
	for _, q := range qs {
		total += q.weight
	}
	at := rand.N(total)
	for i, q := range qs {
		if at -= q.weight; at < 0 {
			return i
		}
	}
	return len(qs) - 1
}

// arrived is told by the handler that a delivery has its slot, and answers what is
// known of its chunk: nil when it has not been begun, or so long ago that it may be
// another worker's by now.
func (f *fetcher) arrived(taskID string) *record.Begun {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.handed[taskID]
	delete(f.handed, taskID)
	if time.Since(h.asked) > ownFor {
		return nil
	}
	return h.begun
}
