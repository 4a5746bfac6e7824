package worker

import (
	"slices"
	"time"

	"github.com/distpool/distpool/internal/record"
)

// A jam is a set of slots, each held by a call that waits for a job which can
// only go on in one of these slots. It takes proof to fail a call for it, and
// reports of different workers are of different times. So a slot only counts as
// held once its very wait has been seen for as long as a worker lives without a
// heartbeat. Its worker has reported since it was first seen, or would be dead;
// a wait that is still there was there all the time; so all slots of the set were
// held at the same moment.

// observer remembers since when waits have been seen.
type observer struct {
	seen map[waitKey]time.Time
}

// waitKey identifies a wait among those of all workers.
type waitKey struct {
	worker string
	number int64
}

// fleet is the live workers, with the slots in which nothing moves.
type fleet struct {
	workers []record.Worker
	slots   []*fleetSlot // held by waits for long enough
	held    map[string]int
}

type fleetSlot struct {
	worker string
	record.HeldSlot
	moves bool // its wait will end
}

// look takes in what the registry says.
func (o *observer) look(workers []record.Worker, now time.Time) *fleet {
	f := &fleet{workers: workers, held: map[string]int{}}
	seen := map[waitKey]time.Time{}
	for _, w := range workers {
		for _, h := range w.Held {
			old := true
			for _, wait := range h.Waits {
				k := waitKey{w.ID, wait.Number}
				since, ok := o.seen[k]
				if !ok {
					since = now
				}
				seen[k] = since
				old = old && now.Sub(since) >= lifetime
			}
			if old {
				f.slots = append(f.slots, &fleetSlot{worker: w.ID, HeldSlot: h})
				f.held[w.ID]++
			}
		}
	}
	o.seen = seen
	return f
}

// candidates are the workers that can run a job of the task on the queue. If
// none knows the task, each can: it fails the calls then.
func (f *fleet) candidates(queue, task string) []record.Worker {
	serve := func(known bool) (ws []record.Worker) {
		for _, w := range f.workers {
			if w.Serves(queue) && (!known || w.Knows(task)) {
				ws = append(ws, w)
			}
		}
		return ws
	}
	if ws := serve(true); len(ws) > 0 {
		return ws
	}
	return serve(false)
}

// full reports whether every slot that could run the awaited job is held by a
// wait. A queue without workers is another matter: one may be started.
func (f *fleet) full(w record.Wait) (slots, workers int, full bool) {
	ws := f.candidates(w.Queue, w.Task)
	for _, c := range ws {
		if f.held[c.ID] < c.Concurrency {
			return 0, 0, false
		}
		slots += c.Concurrency
	}
	return slots, len(ws), len(ws) > 0
}

// suspicious reports whether a wait of the worker may be one that cannot end,
// from what costs nothing to know.
func (f *fleet) suspicious(worker string) bool {
	for _, s := range f.slots {
		if s.worker != worker {
			continue
		}
		for _, w := range s.Waits {
			if _, _, full := f.full(w); full {
				return true
			}
		}
	}
	return false
}

// awaited lists the jobs for which held slots wait.
func (f *fleet) awaited() []string {
	var jobs []string
	for _, s := range f.slots {
		for _, w := range s.Waits {
			jobs = append(jobs, w.Job)
		}
	}
	slices.Sort(jobs)
	return slices.Compact(jobs)
}

// jammed is a wait that cannot end because there is no slot.
type jammed struct {
	wait    record.Wait
	slots   int // that could run the job, and are held
	workers int // that have them
}

// jams finds the waits of the worker that cannot end and whose job lacks a slot.
// A wait whose job is held up further down is not among them: it ends when that
// one is failed. left is how many chunks of each job have no outcome.
func (f *fleet) jams(worker string, left map[string]int) []jammed {
	f.settle(left)
	var js []jammed
	for _, s := range f.slots {
		if s.moves || s.worker != worker {
			continue
		}
		for _, w := range s.Waits {
			if slots, workers, full := f.full(w); full && left[w.Job] > len(f.holders(w.Job)) {
				js = append(js, jammed{w, slots, workers})
			}
		}
	}
	return js
}

// settle finds the slots whose wait will end: first those that need no other to
// move, then those that need one of these, until there are no more.
func (f *fleet) settle(left map[string]int) {
	for changed := true; changed; {
		changed = false
		for _, s := range f.slots {
			if !s.moves && slices.ContainsFunc(s.Waits, func(w record.Wait) bool { return f.canEnd(w, left) }) {
				s.moves, changed = true, true
			}
		}
	}
}

// canEnd reports whether the awaited job can go on, as far as is known by now.
func (f *fleet) canEnd(w record.Wait, left map[string]int) bool {
	holders := f.holders(w.Job)
	if left[w.Job] == 0 {
		return true // it is over, or not in this Redis, or there is more of it to come
	}
	if slices.ContainsFunc(holders, func(s *fleetSlot) bool { return s.moves }) {
		return true
	}
	return left[w.Job] > len(holders) && f.movesIn(w)
}

// movesIn reports whether a slot that could run the job is free, or will be.
func (f *fleet) movesIn(w record.Wait) bool {
	cs := f.candidates(w.Queue, w.Task)
	for _, c := range cs {
		if f.held[c.ID] < c.Concurrency {
			return true
		}
	}
	return len(cs) == 0 || slices.ContainsFunc(f.slots, func(s *fleetSlot) bool {
		return s.moves && slices.ContainsFunc(cs, func(c record.Worker) bool { return c.ID == s.worker })
	})
}

// holders are the held slots that run a chunk of the job, one for each chunk.
func (f *fleet) holders(job string) []*fleetSlot {
	var hs []*fleetSlot
	for _, s := range f.slots {
		if s.Job == job && !slices.ContainsFunc(hs, func(h *fleetSlot) bool { return h.Chunk == s.Chunk }) {
			hs = append(hs, s)
		}
	}
	return hs
}
