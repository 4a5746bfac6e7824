package execute

import (
	"context"
	"time"
)

// A chunk that runs long saves its progress each saveEvery. When saving itself takes long
// it is done less often, so that a twentieth of the time goes into it, but at least each
// saveLast: the price of a death must not grow to minutes because one request hung.
const (
	saveEvery = time.Second
	saveLast  = 20 * time.Second
	saveTime  = 5 * time.Second // the deadline of one checkpoint
)

// saver is when a run saves its progress.
type saver struct {
	saved time.Time     // when the last checkpoint was
	every time.Duration // between two of them
}

func newSaver() saver { return saver{time.Now(), saveEvery} }

// untilNextSave is the time between a checkpoint that took so long and the next one.
func untilNextSave(took time.Duration) time.Duration {
	return min(max(saveEvery, 20*took), saveLast)
}

// checkpoint saves the progress. The context of the run tells whether to go on.
func (r *Run) checkpoint() {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.ctx, saveTime)
	defer cancel()
	p, _ := r.Partial(time.Time{})
	r.host.Save(ctx, p)
	r.saved = time.Now()
	r.every = untilNextSave(r.saved.Sub(began))
}
