package worker

import (
	"cmp"
	"maps"
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
//
// As few calls as possible are failed: mostly one, whose slot then runs what the others
// wait for. All workers choose the same ones, and each fails its own.

// failTime is how long a call whose waits were failed may keep its slot before the next
// one of the set is failed, too.
const failTime = 2 * lifetime

// observer remembers since when waits have been seen.
type observer struct {
	seen   map[waitKey]time.Time
	chosen map[waitKey]time.Time // when a slot was first chosen to be failed, by its first wait
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

// key identifies what the slot waits for.
func (s *fleetSlot) key() waitKey { return waitKey{s.worker, s.Waits[0].Number} }

// look takes in what the registry says.
func (o *observer) look(workers []record.Worker, now time.Time) *fleet {
	f := &fleet{workers: workers, held: map[string]int{}}
	seen := map[waitKey]time.Time{}
	// In an order that is the same for every worker.
	for _, w := range slices.SortedFunc(slices.Values(workers), func(a, b record.Worker) int { return cmp.Compare(a.ID, b.ID) }) {
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
	maps.DeleteFunc(o.chosen, func(k waitKey, _ time.Time) bool { _, ok := seen[k]; return !ok })
	return f
}

// choose picks the slots whose waits are failed, so that all others can go on: each is
// taken to run what waits for a slot, which may be all that the others need. One that was
// chosen for failTime and is still held does not do so, and is passed over. left is how many
// chunks of each job have no outcome.
func (o *observer) choose(f *fleet, left map[string]int, now time.Time) []jammed {
	f.settle(left)
	var js []jammed
	for _, s := range f.slots {
		mine := f.jammed(s, left)
		if s.moves || len(mine) == 0 {
			continue
		}
		if o.chosen == nil {
			o.chosen = map[waitKey]time.Time{}
		}
		since, ok := o.chosen[s.key()]
		if !ok {
			since = now
			o.chosen[s.key()] = since
		}
		if now.Sub(since) >= failTime {
			continue
		}
		js = append(js, mine...)
		s.moves = true
		f.settle(left)
	}
	return js
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
	worker  string // whose call waits
	wait    record.Wait
	slots   int // that could run the job, and are held
	workers int // that have them
}

// jammed finds the waits of the slot whose job lacks a slot. A wait whose job is held up
// further down is not among them: it ends when that one is failed.
func (f *fleet) jammed(s *fleetSlot, left map[string]int) []jammed {
	var js []jammed
	for _, w := range s.Waits {
		if slots, workers, full := f.full(w); full && left[w.Job] > len(f.holders(w.Job)) {
			js = append(js, jammed{s.worker, w, slots, workers})
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
