package calls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/cli/progress"
	"github.com/distpool/distpool/results"
)

// waiting says what is waited for.
type waiting struct {
	label string // the task's name
	queue string
	ours  bool // the job is ours to cancel
	named bool // its ID has been printed
	form  form
}

// finish waits for the job and prints its outcomes.
func (s *session) finish(ctx context.Context, m *results.MapResult[json.RawMessage], w waiting) error {
	s.wait(ctx, m, w)
	values, err := m.Get(ctx)
	failed, _ := errors.AsType[*results.MapError](err)
	if err != nil && failed == nil {
		return abandon(ctx, m, w, err)
	}
	s.pool.Close()
	if err := s.pool.Join(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	w.form.job = m.ID()
	return printAll(s.App, values, failed, w.form)
}

// abandon returns the error of a command whose outcomes did not come. An interrupt
// cancels a job that is ours.
func abandon(ctx context.Context, m *results.MapResult[json.RawMessage], w waiting, err error) error {
	switch {
	case ctx.Err() == nil: // the job is over, without outcomes
		return fmt.Errorf("job %s: %w", m.ID(), err)
	case w.ours && !errors.Is(err, results.ErrTimeout):
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelLimit)
		defer cancel()
		if cerr := m.Cancel(limited); cerr != nil {
			return fmt.Errorf("interrupted, but canceling job %s failed, so it goes on: %w", m.ID(), cerr)
		}
		return fmt.Errorf("interrupted: job %s was canceled", m.ID())
	}
	p := m.Progress()
	return fmt.Errorf("%w (%d of %d calls are over); to wait again: distpool get %s", err, p.Done, p.Calls, m.ID())
}

// idLine tells the ID of a job that is waited for, in case this program is killed.
func idLine(id string) string { return "distpool: job " + id }

const cancelLimit = 5 * time.Second

// quiet is how long there are no lines of progress where there is no terminal:
// scripts want silence, and logs of what takes long something to look at.
const quiet = 10 * time.Second

// patience is how long no worker may serve the queue before that is said.
const patience = 2 * time.Second

// wait waits, and shows on standard error what there is to know meanwhile.
func (s *session) wait(ctx context.Context, m *results.MapResult[json.RawMessage], w waiting) {
	say := func(text string) { fmt.Fprintln(s.Err, text) }
	show := func(results.Progress) {}
	began, said := time.Now(), false
	served := began
	calls := m.Progress().Calls
	if bar := s.Bar(w.label, calls); bar != nil {
		defer bar.End()
		say, show = bar.Say, bar.Show
	} else if calls > 1 {
		meter := progress.Lines(s.Err, w.label, calls)
		show = func(p results.Progress) {
			if time.Since(began) >= quiet {
				meter.Show(p)
			}
		}
	}
	for p := range m.Watch(ctx) {
		show(p)
		if !p.NoWorker {
			served = time.Now()
		}
		if w.ours && !w.named && time.Since(began) >= patience {
			w.named = true
			say(idLine(m.ID()))
		}
		if !said && time.Since(served) >= patience {
			said = true
			say(fmt.Sprintf("distpool: no worker serves queue %q; the job waits for one (an interrupt ends the waiting)", w.queue))
		}
	}
}
