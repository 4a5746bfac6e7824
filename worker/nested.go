package worker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/record"
)

// A call that waits for jobs which it has submitted holds its slot meanwhile.
// When every slot that could run such a job is held like that, nobody ever will.
// So workers publish the waits that last, each looks at those of all, and a wait
// that cannot end fails: see jam.go.

// publishAfter is how long a wait must last to be published: most are over by
// then, and cost nothing.
const publishAfter = 500 * time.Millisecond

// waits is what the calls of a worker wait for.
type waits struct {
	mu   sync.Mutex // guards all below
	last int64
	open map[int64]*openWait
}

type openWait struct {
	number int64
	run    *chunkRun
	call   int
	job    nested.Job
	since  time.Time
	jam    chan error // holds the one error
	failed bool
}

func (ws *waits) begin(r *chunkRun, call int, j nested.Job) *openWait {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.last++
	w := &openWait{number: ws.last, run: r, call: call, job: j, since: time.Now(), jam: make(chan error, 1)}
	if ws.open == nil {
		ws.open = map[int64]*openWait{}
	}
	ws.open[w.number] = w
	return w
}

func (ws *waits) end(w *openWait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.open, w.number)
}

func (ws *waits) endAll(r *chunkRun) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	maps.DeleteFunc(ws.open, func(_ int64, w *openWait) bool { return w.run == r })
}

// lasting describes the slots that are held by waits, for the registry.
func (ws *waits) lasting() []record.HeldSlot {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.open) > record.MaxWaits {
		return nil // nobody looks at so many, and the heartbeat is to stay small
	}
	held := map[*chunkRun]*record.HeldSlot{}
	for _, n := range slices.Sorted(maps.Keys(ws.open)) {
		w := ws.open[n]
		if time.Since(w.since) < publishAfter {
			continue
		}
		h := held[w.run]
		if h == nil {
			h = &record.HeldSlot{Job: w.run.delivery.Job, Chunk: w.run.delivery.Chunk}
			held[w.run] = h
		}
		h.Waits = append(h.Waits, record.Wait{Number: n, Job: w.job.ID, Task: w.job.Task, Queue: w.job.Queue})
	}
	slots := make([]record.HeldSlot, 0, len(held))
	for _, h := range held {
		slots = append(slots, *h)
	}
	slices.SortFunc(slots, func(a, b record.HeldSlot) int { return cmp.Compare(a.Waits[0].Number, b.Waits[0].Number) })
	return slots
}

// fail ends a wait with an error. It returns nil for one that does not last any more, or
// has an error already.
func (ws *waits) fail(number int64, err error) *openWait {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.open[number]
	if w == nil || w.failed {
		return nil
	}
	w.failed = true
	w.jam <- err
	return w
}

// breakJams looks for waits of this worker that cannot end, and fails them.
func (w *worker) breakJams(ctx context.Context, published []record.HeldSlot) {
	if len(published) == 0 {
		w.observer = observer{}
		return
	}
	workers, err := record.Workers(ctx, w.rdb)
	if err != nil {
		w.log.Debug("reading the registry of workers for nested waits failed", "error", err)
		return
	}
	fleet := w.observer.look(workers, time.Now())
	if !fleet.suspicious(w.self.ID) {
		return
	}
	left, err := record.ChunksLeft(ctx, w.rdb, fleet.awaited())
	if err != nil {
		w.log.Debug("reading the jobs of nested waits failed", "error", err)
		return
	}
	for _, j := range w.observer.choose(fleet, left, time.Now()) {
		if j.worker != w.self.ID {
			continue
		}
		err := fmt.Errorf("%w: job %s of task %q waits on queue %q, where all %d slots (of %d workers) are held by calls that wait for nested jobs themselves; "+
			"add slots, submit nested jobs to a queue of other workers (producer.Queue), or nest fewer levels",
			nested.ErrNoSlot, j.wait.Job, j.wait.Task, j.wait.Queue, j.slots, j.workers)
		if o := w.waits.fail(j.wait.Number, err); o != nil {
			o.run.logger().Warn("a call waits for a nested job that cannot get a slot; its wait fails",
				"call", o.call, "nested", j.wait.Job, "queue", j.wait.Queue, "slots", j.slots, "workers", j.workers)
		}
	}
}
