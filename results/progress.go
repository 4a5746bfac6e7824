package results

import (
	"context"
	"iter"
)

// Progress is how far a job is, as this process last heard; it costs no round
// trip to ask.
type Progress struct {
	Calls  int  // calls of the job, as far as known: a stream's grow
	Done   int  // calls that are over, failed ones included
	Failed int  // calls that failed
	Ended  bool // nothing more will change
}

// Progress returns how far the job is. Done moves when a chunk is recorded.
func (h *handle) Progress() Progress {
	c := h.job.Counts()
	return Progress{Calls: c.Calls, Done: c.Done, Failed: c.Failed, Ended: h.job.Settled()}
}

// Watch yields the progress now and after each change, the last one with Ended
// set, and stops when the job or ctx ends or the loop is left. Changes that come
// faster than the loop takes them are merged.
func (h *handle) Watch(ctx context.Context) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		for {
			changed := h.job.Changed() // before the look, so that no change is missed
			p := h.Progress()
			if !yield(p) || p.Ended {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
