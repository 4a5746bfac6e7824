package results

import (
	"context"
	"iter"
	"time"

	"github.com/distpool/distpool/internal/job"
)

// Progress is how far a job is, as this process last heard; it costs no round
// trip to ask.
type Progress struct {
	Calls  int  // calls of the job, as far as known: a stream's grow
	Done   int  // calls that are over, failed ones included
	Failed int  // calls that failed
	Ended  bool // nothing more will change

	// Running is how many calls run: one for each chunk that a worker holds. It is
	// as old as the last outcome or checkpoint that was heard of, 2 seconds when
	// nothing is, and counts the chunks of a dead worker until another has them.
	Running int

	// Rate is how many calls ended per second over the last 10 seconds, or longer
	// where calls end less often; those that another process saw end before the
	// handle was attached do not count. 0 while none has ended.
	Rate float64

	// Left is an estimate of the time until the end, from Rate and the calls that
	// are not over. Negative while there is none: no call has ended yet, or the
	// job has no known end.
	Left time.Duration

	// NoWorker says that no live worker serves the job's queue, so that the job
	// waits. Asking for the progress makes the pool look, in the background and
	// once a second at the most: the first answer may be too early to know.
	NoWorker bool
}

// Progress returns how far the job is. Done moves when a chunk is recorded, and
// about once a second within a chunk that takes longer.
func (h *handle[Value]) Progress() Progress {
	c := h.job.Counts()
	p := Progress{Calls: c.Calls, Done: c.Done, Failed: c.Failed, Ended: h.job.Settled(), Running: c.Running, Rate: h.job.Rate()}
	switch {
	case p.Ended:
	case c.State == job.Open || p.Rate == 0:
		p.Left = -1
	default:
		left := float64(p.Calls-p.Done) / p.Rate
		p.Left = time.Duration(min(left, longest.Seconds()) * float64(time.Second))
	}
	p.NoWorker = !p.Ended && h.hub.Unserved(h.job.Queue)
	return p
}

// longest is where estimates of the time left end.
const longest = 10 * 365 * 24 * time.Hour

// watchEvery is how often Watch yields when nothing changes: estimates do.
const watchEvery = time.Second

// Watch yields the progress now, after each change and at least once a second,
// the last one with Ended set, and stops when the job or ctx ends or the loop is
// left. Changes that come faster than the loop takes them are merged.
func (h *handle[Value]) Watch(ctx context.Context) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		quiet := time.NewTimer(watchEvery)
		defer quiet.Stop()
		for {
			changed := h.job.Changed() // before the look, so that no change is missed
			p := h.Progress()
			if !yield(p) || p.Ended {
				return
			}
			quiet.Reset(watchEvery)
			select {
			case <-changed:
			case <-quiet.C:
			case <-ctx.Done():
				return
			}
		}
	}
}
