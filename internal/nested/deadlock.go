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
			ErrNoSlot, s.wait.ID, s.wait.Task, s.wait.Queue, s.slots, s.workers)
		if w := d.Waits.fail(s.wait.Number, err); w != nil {
			w.holder.Logger().Warn("a call waits for a nested job that cannot get a slot; its wait fails",
				"call", w.call, "nested", s.wait.ID, "queue", s.wait.Queue, "slots", s.slots, "workers", s.workers)
		}
	}
}

// waitKey identifies a wait among the waits of all workers.
type waitKey struct {
	worker string
	number int64
}

// view is the live workers and their slots.
type view struct {
	workers []Worker
	slots   []*slotView    // held by waits for long enough
	held    map[string]int // by worker: slots in which nothing moves
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
				seen[k] = cmp.Or(d.seen[k], now)
				old = old && now.Sub(seen[k]) >= d.Lifetime
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
		d.chosen[s.key()] = cmp.Or(d.chosen[s.key()], now)
		if now.Sub(d.chosen[s.key()]) >= 2*d.Lifetime {
			continue
		}
		js = append(js, mine...)
		v.move(s)
		v.settle(left)
	}
	return js
}

// full returns the slots that could run the awaited job, and how many workers have them, if nothing
// moves in any of them; else 0 workers. If none of the queue's workers knows the task, each can run
// it: it fails the calls then. A queue without workers is another matter: one may be started.
func (v *view) full(w Wait) (slots, workers int) {
	serving := slices.DeleteFunc(slices.Clone(v.workers), func(c Worker) bool { return !c.Runs.Serves(w.Queue) })
	can := slices.DeleteFunc(slices.Clone(serving), func(c Worker) bool { return !c.Runs.Knows(w.Task) })
	if len(can) == 0 {
		can = serving
	}
	for _, c := range can {
		if v.held[c.ID] < c.Slots {
			return 0, 0
		}
		slots += c.Slots
	}
	return slots, len(can)
}

// suspicious reports whether a wait of the worker may be one that cannot end,
// from what costs nothing to know.
func (v *view) suspicious(worker string) bool {
	return slices.ContainsFunc(v.slots, func(s *slotView) bool {
		return s.worker == worker && slices.ContainsFunc(s.Waits, func(w Wait) bool {
			_, workers := v.full(w)
			return workers > 0
		})
	})
}

// awaited lists the jobs for which held slots wait.
func (v *view) awaited() []string {
	var jobs []string
	for _, s := range v.slots {
		for _, w := range s.Waits {
			jobs = append(jobs, w.ID)
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
		if slots, workers := v.full(w); workers > 0 && left[w.ID] > len(v.holders(w.ID)) {
			js = append(js, stuck{s.worker, w, slots, workers})
		}
	}
	return js
}

// move notes that the wait of a slot will end.
func (v *view) move(s *slotView) {
	s.moves = true
	v.held[s.worker]--
}

// settle finds the slots with a wait that will end: first the slots that need no other to
// move, then the slots that need one of these, until there are no more.
func (v *view) settle(left map[string]int) {
	for changed := true; changed; {
		changed = false
		for _, s := range v.slots {
			if !s.moves && slices.ContainsFunc(s.Waits, func(w Wait) bool { return v.canEnd(w, left) }) {
				v.move(s)
				changed = true
			}
		}
	}
}

// canEnd reports whether the awaited job can go on, by the slots that are known to move by now.
func (v *view) canEnd(w Wait, left map[string]int) bool {
	holders := v.holders(w.ID)
	if left[w.ID] == 0 || slices.ContainsFunc(holders, func(s *slotView) bool { return s.moves }) {
		return true // where none is left, it is over, or not in this Redis, or there is more of it to come
	}
	_, workers := v.full(w)
	return left[w.ID] > len(holders) && workers == 0
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
