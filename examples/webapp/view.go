package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"time"

	"github.com/distpool/distpool/examples/webapp/inspect"
	"github.com/distpool/distpool/results"
)

// state is what a page says of a job. It is the class of its element, too.
type state string

const (
	waiting  state = "waiting"  // no call has begun
	unserved state = "unserved" // there is no worker
	running  state = "running"
	done     state = "done"
	canceled state = "canceled"
	expired  state = "expired"
	broken   state = "broken"
	leaving  state = "leaving" // this process ends, the job goes on
)

// status is the part of a page that moves.
type status struct {
	State                       state
	Text                        string
	Calls, Done, Failed, Active int
	Rate                        float64
	Left                        time.Duration
}

// Ended reports whether nothing more will change.
func (s status) Ended() bool {
	return s.State == done || s.State == canceled || s.State == expired || s.State == broken
}

func newStatus(h *handle, p results.Progress) status {
	s := status{Calls: p.Calls, Done: p.Done, Failed: p.Failed, Active: p.Running, Rate: p.Rate, Left: p.Left}
	switch {
	case p.Ended:
		s.State, s.Text = ending(h)
		s.Active = 0
	case p.NoWorker:
		s.State, s.Text = unserved, "No worker is running. The job waits, and starts when there is one."
	case p.Done == 0 && p.Running == 0:
		s.State, s.Text = waiting, "Waiting for a free worker."
	default:
		s.State, s.Text = running, "Running."
	}
	return s
}

// ending says how a job ended that has ended.
func ending(h *handle) (state, string) {
	_, err := h.Get(context.Background()) // it waits no longer than callbacks take
	var failed *results.MapError
	switch {
	case err == nil:
		return done, "Done."
	case errors.As(err, &failed):
		return done, fmt.Sprintf("Done. %d of %d files failed.", len(failed.Errors), failed.Calls)
	case errors.Is(err, results.ErrCanceled):
		return canceled, "Canceled."
	case errors.Is(err, results.ErrExpired):
		return expired, "The results are not kept any longer."
	case errors.Is(err, results.ErrClosed):
		return leaving, "The web process ends. The job goes on."
	default:
		return broken, "The job's record cannot be read."
	}
}

// row is one file.
type row struct {
	Call    int
	Name    string
	Pending bool // no outcome yet
	Error   string
	inspect.Report
}

// Thumb is the image as an address. What the image is, this program says, not the
// worker: the bytes cannot be a page.
func (r row) Thumb() template.URL {
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(r.Image.Thumbnail))
}

func newRow(m manifest, call int, o results.Outcome[inspect.Report]) row {
	r := row{Call: call, Report: o.Value, Error: explain(o.Err)}
	if call < len(m.Files) {
		r.Name = m.Files[call]
	}
	return r
}

// explain says why a file failed, to a person who knows neither the workers nor
// their code.
func explain(err error) string {
	var call *results.TaskError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, results.ErrWorkerLost):
		return "every worker that looked at this file died"
	case errors.Is(err, results.ErrCallTimeout):
		return fmt.Sprintf("it took longer than %v", inspect.CallTime)
	case errors.Is(err, results.ErrUnknownTask):
		return "the workers that run are not those of this application"
	case errors.As(err, &call) && call.Kind == results.KindError:
		return call.Message
	default:
		return "the program failed on this file"
	}
}

// page is a job's page as it is now.
type page struct {
	status
	ID      string
	Created time.Time
	Rows    []row
}

// newPage reads what is there. It waits for outcomes only as long as it takes to
// bring those that the workers have recorded, and ctx lasts.
func newPage(ctx context.Context, id string, h *handle, m manifest) page {
	p := page{ID: id, Created: m.Created}
	for i, name := range m.Files {
		p.Rows = append(p.Rows, row{Call: i, Name: name, Pending: true})
	}
	known := h.Progress()
	arrived := 0
	for call, o := range h.AsCompleted(ctx) {
		if call < 0 { // the reason why there are no more, which the status tells
			break
		}
		if call < len(p.Rows) {
			p.Rows[call] = newRow(m, call, o)
		}
		if arrived++; arrived >= known.Done {
			break
		}
	}
	p.status = newStatus(h, h.Progress())
	return p
}
