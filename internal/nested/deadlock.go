package nested

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// A deadlock is a set of slots, each held by a call that waits for a job which can
// only go on in one of these slots. It takes proof to fail a call for it, and
// reports of different workers are of different times. So a slot only counts as
// held once its very wait has been seen for as long as a worker lives without a
// heartbeat. Its worker has reported since it was first seen, or would be dead;
// a wait that is still there was there all the time; so all slots of the set were
// held at the same moment.
//
// As few calls as possible are failed: mostly one. Its slot then runs what the others
// wait for. All workers choose the same calls, and each fails its own.

// Worker is what a Detector knows of a live worker.
type Worker struct {
	ID    string
	Slots int
	Held  []HeldSlot
	Runs  interface {
		Serves(queue string) bool
		Knows(task string) bool
	}
}

// Detector finds deadlocks in which waits of one worker are. One goroutine uses it.
type Detector struct {
	Worker   string        // the ID of the worker
	Waits    *Waits        // of the worker
	Lifetime time.Duration // how long a worker lives without a heartbeat
	Logger   *slog.Logger

	// Workers reads the live workers.
	Workers func(context.Context) ([]Worker, error)
	// Left counts for each job the chunks without outcomes. A job that is over or not there
	// counts 0.
	Left func(ctx context.Context, jobs []string) (map[string]int, error)

	seen   map[waitKey]time.Time // since when
	chosen map[waitKey]time.Time // when a slot was first chosen to be failed, by its first wait
}

// Look looks for waits of the worker that cannot end, and fails them. published is what the
// worker's last heartbeat said of them.
func (d *Detector) Look(ctx context.Context, published []HeldSlot) {
	if len(published) == 0 {
		d.seen, d.chosen = nil, nil
		return
	}
	workers, err := d.Workers(ctx)
	if err != nil {
		d.Logger.Debug("reading the registry of workers for nested waits failed", "error", err)
		return
	}
	seen := d.look(workers, time.Now())
	if !seen.suspicious(d.Worker) {
		return
	}
	left, err := d.Left(ctx, seen.awaited())
	if err != nil {
		d.Logger.Debug("reading the jobs of nested waits failed", "error", err)
		return
	}
	for _, s := range d.choose(seen, left, time.Now()) {
		if s.worker != d.Worker {
			continue
		}
		err := fmt.Errorf("%w: job %s of task %q waits on queue %q, where all %d slots (of %d workers) are held by calls that wait for nested jobs themselves; "+
			"add slots, submit nested jobs to a queue of other workers (producer.Queue), or nest fewer levels",
			ErrNoSlot, s.wait.Job, s.wait.Task, s.wait.Queue, s.slots, s.workers)
		if w := d.Waits.fail(s.wait.Number, err); w != nil {
			w.holder.Logger().Warn("a call waits for a nested job that cannot get a slot; its wait fails",
				"call", w.call, "nested", s.wait.Job, "queue", s.wait.Queue, "slots", s.slots, "workers", s.workers)
		}
	}
}

// waitKey identifies a wait among the waits of all workers.
type waitKey struct {
	worker string
	number int64
}

// view is the live workers, with the slots in which nothing moves.
type view struct {
	workers []Worker
	slots   []*slotView // held by waits for long enough
	held    map[string]int
}

type slotView struct {
	worker string
	HeldSlot
	moves bool // its wait will end
}

// key identifies what the slot waits for.
func (s *slotView) key() waitKey { return waitKey{s.worker, s.Waits[0].Number} }

// look takes in what the registry says.
func (d *Detector) look(workers []Worker, now time.Time) *view {
	v := &view{workers: workers, held: map[string]int{}}
	seen := map[waitKey]time.Time{}
	// In an order that is the same for every worker.
	for _, w := range slices.SortedFunc(slices.Values(workers), func(a, b Worker) int { return cmp.Compare(a.ID, b.ID) }) {
		for _, h := range w.Held {
			old := true
			for _, wait := range h.Waits {
				k := waitKey{w.ID, wait.Number}
				since, ok := d.seen[k]
				if !ok {
					since = now
				}
				seen[k] = since
				old = old && now.Sub(since) >= d.Lifetime
			}
			if old {
				v.slots = append(v.slots, &slotView{worker: w.ID, HeldSlot: h})
				v.held[w.ID]++
			}
		}
	}
	d.seen = seen
	maps.DeleteFunc(d.chosen, func(k waitKey, _ time.Time) bool { _, ok := seen[k]; return !ok })
	return v
}

// choose picks the slots of which the waits are failed, so that all others can go on: each is
// taken to run what waits for a slot, which may be all that the others need. A slot that is still
// held two lifetimes of a worker after it was chosen does not do so, and is passed over. left
// counts the chunks of each job that have no outcome.
func (d *Detector) choose(v *view, left map[string]int, now time.Time) []stuck {
	v.settle(left)
	var js []stuck
	for _, s := range v.slots {
		mine := v.stuck(s, left)
		if s.moves || len(mine) == 0 {
			continue
		}
		if d.chosen == nil {
			d.chosen = map[waitKey]time.Time{}
		}
		since, ok := d.chosen[s.key()]
		if !ok {
			since = now
			d.chosen[s.key()] = since
		}
		if now.Sub(since) >= 2*d.Lifetime {
			continue
		}
		js = append(js, mine...)
		s.moves = true
		v.settle(left)
	}
	return js
}

// candidates are the workers that can run a job of the task on the queue. If
// none knows the task, each can: it fails the calls then.
func (v *view) candidates(queue, task string) []Worker {
	serve := func(known bool) (ws []Worker) {
		for _, w := range v.workers {
			if w.Runs.Serves(queue) && (!known || w.Runs.Knows(task)) {
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
func (v *view) full(w Wait) (slots, workers int, full bool) {
	ws := v.candidates(w.Queue, w.Task)
	for _, c := range ws {
		if v.held[c.ID] < c.Slots {
			return 0, 0, false
		}
		slots += c.Slots
	}
	return slots, len(ws), len(ws) > 0
}

// suspicious reports whether a wait of the worker may be one that cannot end,
// from what costs nothing to know.
func (v *view) suspicious(worker string) bool {
	for _, s := range v.slots {
		if s.worker != worker {
			continue
		}
		for _, w := range s.Waits {
			if _, _, full := v.full(w); full {
				return true
			}
		}
	}
	return false
}

// awaited lists the jobs for which held slots wait.
func (v *view) awaited() []string {
	var jobs []string
	for _, s := range v.slots {
		for _, w := range s.Waits {
			jobs = append(jobs, w.Job)
		}
	}
	slices.Sort(jobs)
	return slices.Compact(jobs)
}

// stuck is a wait that cannot end because there is no slot.
type stuck struct {
	worker  string // of the call that waits
	wait    Wait
	slots   int // that could run the job, and are held
	workers int // that have them
}

// stuck finds the waits of the slot for jobs that lack a slot. A wait for a job that is held up
// further down is not among them: it ends when the wait down there is failed.
func (v *view) stuck(s *slotView, left map[string]int) []stuck {
	var js []stuck
	for _, w := range s.Waits {
		if slots, workers, full := v.full(w); full && left[w.Job] > len(v.holders(w.Job)) {
			js = append(js, stuck{s.worker, w, slots, workers})
		}
	}
	return js
}

// settle finds the slots with a wait that will end: first the slots that need no other to
// move, then the slots that need one of these, until there are no more.
func (v *view) settle(left map[string]int) {
	for changed := true; changed; {
		changed = false
		for _, s := range v.slots {
			if !s.moves && slices.ContainsFunc(s.Waits, func(w Wait) bool { return v.canEnd(w, left) }) {
				s.moves, changed = true, true
			}
		}
	}
}

// canEnd reports whether the awaited job can go on, by the slots that are known to move by now.
func (v *view) canEnd(w Wait, left map[string]int) bool {
	holders := v.holders(w.Job)
	if left[w.Job] == 0 {
		return true // it is over, or not in this Redis, or there is more of it to come
	}
	if slices.ContainsFunc(holders, func(s *slotView) bool { return s.moves }) {
		return true
	}
	return left[w.Job] > len(holders) && v.movesIn(w)
}

// movesIn reports whether a slot that could run the job is free, or will be.
func (v *view) movesIn(w Wait) bool {
	cs := v.candidates(w.Queue, w.Task)
	for _, c := range cs {
		if v.held[c.ID] < c.Slots {
			return true
		}
	}
	return len(cs) == 0 || slices.ContainsFunc(v.slots, func(s *slotView) bool {
		return s.moves && slices.ContainsFunc(cs, func(c Worker) bool { return c.ID == s.worker })
	})
}

// holders are the held slots that run a chunk of the job, one for each chunk.
func (v *view) holders(job string) []*slotView {
	var hs []*slotView
	for _, s := range v.slots {
		if s.Job == job && !slices.ContainsFunc(hs, func(h *slotView) bool { return h.Chunk == s.Chunk }) {
			hs = append(hs, s)
		}
	}
	return hs
}
