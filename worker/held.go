package worker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// What the fetcher knows of the deliveries that are here, and how it gives back those
// of which nothing becomes.

// deliveries counts those of a chunk.
type deliveries struct {
	n     int
	asked time.Time // when the last of them was fetched
}

// watch gives back what was fetched ahead and got no slot.
func (f *fetcher) watch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	// With a free slot they are on their way; without one, how long is anybody's guess.
	surplus := -f.unclaimed()
	if surplus <= 0 || f.closed {
		f.watched = false
		return
	}
	if wait := stale - time.Since(f.since); wait > 0 {
		time.AfterFunc(wait, f.watch)
		return
	}
	f.watched = false
	keep := max(0, len(f.fetched)-surplus)
	ds := slices.Clone(f.fetched[keep:])
	f.fetched = f.fetched[:keep]
	f.plenty = false
	f.took.Store(int64(stale)) // chunks are not that short any more
	f.ends.failed()
	f.returnLater(ds)
}

// forgetJob has the chunks of a job that has ended ask the record once more.
func (f *fetcher) forgetJob(job record.Ref) {
	name := names.SplitAddress(job.ID).Name + ":" // asking for the same name in another queue is harmless
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, d := range f.fetched {
		if d.Begun != nil && strings.HasPrefix(d.TaskID, name) {
			f.fetched[i].Begun = nil
		}
	}
	for id, h := range f.handed {
		if strings.HasPrefix(id, name) {
			h.begun = nil
			f.handed[id] = h
		}
	}
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
			return f.held[chunkOf(taskID)].n > 0
		})
		if err != nil {
			return err
		}
		ds := make([]record.Fetched, len(ids))
		for i, id := range ids {
			ds[i] = record.Fetched{Queue: q.queue, TaskID: id, Owned: true}
		}
		if err := record.GiveBack(ctx, f.rdb, f.worker, ds); err != nil {
			return err
		}
	}
	return nil
}

// over is told that a delivery is over, as far as this worker is concerned.
func (f *fetcher) over(taskID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.handed, taskID)
	f.drop(taskID)
}

// drop forgets a delivery that is not here any more, and returns how many others of
// its chunk are. It is called with mu held.
func (f *fetcher) drop(taskID string) int {
	c := chunkOf(taskID)
	h := f.held[c]
	if h.n--; h.n > 0 {
		f.held[c] = h
		return h.n
	}
	delete(f.held, c)
	return 0
}

// ifAbsent calls do if no delivery of the chunk is on its way to a slot, and lets none be
// fetched meanwhile. One that has been here for long does not count: it runs, or it has the
// chunk begun again once it has its slot, or asynq has dropped it.
func (f *fetcher) ifAbsent(ref record.ChunkRef, do func()) {
	f.fetching.Lock()
	defer f.fetching.Unlock()
	f.mu.Lock()
	h := f.held[chunkOf(wire.Delivery{Job: ref.Job.ID, Gen: ref.Job.Gen, Chunk: ref.Chunk}.TaskID())]
	f.mu.Unlock()
	if h.n == 0 || time.Since(h.asked) > arriveFor {
		do()
	}
}

// chunkOf is a delivery's task ID without its number: another delivery of the same
// chunk has another one. Jobs of one name in several queues differ in their generation.
func chunkOf(taskID string) string {
	job, rest, _ := strings.Cut(taskID, ":")
	chunk, rest, _ := strings.Cut(rest, ":")
	_, gen, _ := strings.Cut(rest, ":")
	return job + ":" + chunk + ":" + gen
}

// close gives back what was fetched and not handed out, and has later fetches do
// the same.
func (f *fetcher) close() {
	f.ends.stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.returnLater(f.fetched)
	f.fetched = nil
}

// wait waits until all that was fetched and not handed out has been given back, after
// close; or until ctx ends.
func (f *fetcher) wait(ctx context.Context) { f.under.wait(ctx) }

// returnLater lets another worker have deliveries, at once, in the background. Should
// it fail, asynq or the supervisor brings them back later. It is called with mu held.
func (f *fetcher) returnLater(ds []record.Fetched) {
	if len(ds) == 0 {
		return
	}
	ds = slices.Clone(ds)
	owned, left := map[string]bool{}, map[string]int{} // by chunk
	for _, d := range ds {
		c := chunkOf(d.TaskID)
		owned[c] = owned[c] || d.Owned
		left[c] = f.drop(d.TaskID)
	}
	// A chunk of which another delivery stays may be running here by that one. Otherwise
	// it is given up once, with the first of its deliveries that goes back: after that it
	// may be fetched again, even by this worker.
	for i, d := range slices.Backward(ds) {
		c := chunkOf(d.TaskID)
		ds[i].Owned = owned[c] && left[c] == 0
		owned[c] = false
	}
	f.under.run(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := record.GiveBack(ctx, f.rdb, f.worker, ds); err != nil {
			f.mu.Lock()
			f.suspect = time.Now().Add(suspectFor)
			f.mu.Unlock()
		}
	})
}
