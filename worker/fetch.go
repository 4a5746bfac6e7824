package worker

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// lease is how long asynq believes that a worker is at work on a delivery without
// hearing of it again (asynq v0.26, internal/rdb: LeaseDuration).
const lease = 30 * time.Second

// handTime is how long a delivery may take from the fetcher to the handler before
// it is no longer counted on: asynq drops one that it cannot decode.
const handTime = time.Second

// suspectFor is how long after a fetch whose reply was lost its deliveries are
// looked for: a server that hung may run it late.
const suspectFor = time.Minute

// fetcher takes deliveries from the queues, for all free slots in one round trip,
// and begins their chunks with it where the record allows that. asynq asks for one
// delivery at a time: it is handed those that were fetched, one after the other.
// There are never more of them than slots that are free, so none waits here while
// another worker could run it.
//
// It works on a single server only. Elsewhere asynq's own requests pass.
type fetcher struct {
	rdb    redis.UniversalClient
	worker string
	slots  func() int // that are free
	queues []weighted // heaviest first
	strict bool

	fetching sync.Mutex // held while a fetch is under way; before mu

	mu      sync.Mutex // guards all below
	closed  bool
	fetched []record.Fetched // not handed out yet
	handed  map[string]hand  // handed out to asynq, and not at the handler yet; by asynq's task ID
	held    map[string]bool  // all that is here, until its delivery is over; by asynq's task ID
	nothing map[string]bool  // queues for which asynq was told that there is nothing, since the last fetch
	suspect time.Time        // until then, deliveries may be ours without our knowing
}

type weighted struct {
	queue  string
	weight int
}

type hand struct {
	begun *record.Begun
	at    time.Time
}

func newFetcher(rdb redis.UniversalClient, worker string, cfg Config, slots func() int) *fetcher {
	f := &fetcher{
		rdb: rdb, worker: worker, slots: slots, strict: cfg.StrictPriority,
		handed: map[string]hand{}, held: map[string]bool{}, nothing: map[string]bool{},
	}
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
	silent                 // it has to fetch, and all queues came back empty the last time
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
			f.handed[d.TaskID] = hand{d.Begun, time.Now()}
			return d.Msg, handOut
		}
	}
	switch {
	case len(f.fetched) > 0:
		return "", noneHere
	case len(f.nothing) == 0:
		return "", unknown
	case f.nothing[queue]:
		return "", silent // once around
	}
	f.nothing[queue] = true
	return "", noneHere
}

// free is the number of slots for which nothing is here.
func (f *fetcher) free() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, h := range f.handed {
		if time.Since(h.at) > handTime {
			delete(f.handed, id)
		}
	}
	return f.slots() - len(f.handed) - len(f.fetched)
}

// fetch takes up to n deliveries. asynq is asking for those of the queue.
func (f *fetcher) fetch(ctx context.Context, queue string, n int) error {
	f.fetching.Lock()
	defer f.fetching.Unlock()
	ds, err := record.Fetch(ctx, f.rdb, f.worker, f.shares(n), n, lease)
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.nothing)
	if err != nil {
		f.suspect = time.Now().Add(suspectFor)
		return err
	}
	if f.closed {
		go f.giveBack(ds)
		return nil
	}
	if len(ds) == 0 {
		f.nothing[queue] = true
	}
	f.fetched = append(f.fetched, ds...)
	for _, d := range ds {
		f.held[d.TaskID] = true
	}
	return nil
}

// reclaim gives back what was fetched without our knowing: the reply was lost. The
// record says that we run it, so nobody else would.
func (f *fetcher) reclaim(ctx context.Context) error {
	f.mu.Lock()
	suspect := time.Now().Before(f.suspect)
	f.mu.Unlock()
	if !suspect {
		return nil
	}
	f.fetching.Lock()
	defer f.fetching.Unlock()
	for _, q := range f.queues {
		ids, err := record.OwnDeliveries(ctx, f.rdb, f.worker, q.queue, func(taskID string) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.held[taskID]
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			d := record.Fetched{Queue: q.queue, TaskID: id, Begun: &record.Begun{}}
			if err := record.GiveBack(ctx, f.rdb, f.worker, d); err != nil {
				return err
			}
		}
	}
	return nil
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
// known of its chunk: nil when it has not been begun.
func (f *fetcher) arrived(taskID string) *record.Begun {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.handed[taskID]
	delete(f.handed, taskID)
	return h.begun
}

// over is told that a delivery is over, as far as this worker is concerned.
func (f *fetcher) over(taskID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.handed, taskID)
	delete(f.held, taskID)
}

// close gives back what was fetched and not handed out, and has later fetches do
// the same.
func (f *fetcher) close() {
	f.mu.Lock()
	f.closed = true
	ds := f.fetched
	f.fetched = nil
	f.mu.Unlock()
	f.giveBack(ds)
}

// giveBack lets another worker have deliveries, at once. Should it fail, asynq or
// the supervisor brings them back later.
func (f *fetcher) giveBack(ds []record.Fetched) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, d := range slices.Backward(ds) { // each goes to the front of its queue
		if err := record.GiveBack(ctx, f.rdb, f.worker, d); err != nil {
			return
		}
	}
}
