package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// A browser follows a job by server-sent events:
//
//	status  {"html": what stands in #status, "state": its state, "done": n, "calls": n}
//	row     {"call": n, "html": the file's row in the table}
//	end     {}: nothing will come any more
//
// A stream always begins with all that is there, so that a browser that comes
// back after any interruption has everything, and none need be remembered here.
// Markup is made here, by html/template, so escaping is done in one place.

// event is one of them.
type event struct {
	name string
	data any
}

const (
	// maxStreams bounds the browsers that follow jobs. More than that load the page
	// again every few seconds: see page.js.
	maxStreams = 200
	// eventTime is how long a browser may take to accept an event.
	eventTime = 30 * time.Second
)

// region:events

// follow turns what happens to a job into events, until the job or ctx ends.
func (s *server) follow(ctx context.Context, h *handle, m manifest) <-chan event {
	events := make(chan event)
	send := func(name string, data any) bool {
		select {
		case events <- event{name, data}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var both sync.WaitGroup
	both.Go(func() {
		for call, outcome := range h.AsCompleted(ctx) {
			if call < 0 || !send("row", s.rowEvent(newRow(m, call, outcome))) {
				return
			}
		}
	})
	both.Go(func() {
		for p := range h.Watch(ctx) {
			if !p.Ended && !send("status", s.statusEvent(newStatus(h, p))) {
				return
			}
		}
	})
	go func() {
		defer close(events)
		both.Wait()
		// The last state comes after the last row.
		if last := newStatus(h, h.Progress()); last.Ended() && send("status", s.statusEvent(last)) {
			send("end", struct{}{})
		}
	}()
	return events
}

// endregion:events

// events is the stream.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	if !s.streams.enter() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many browsers follow jobs", http.StatusServiceUnavailable)
		return
	}
	defer s.streams.leave()
	h, m, err := s.jobs.attach(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	// It ends with the browser's connection, or with this process.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(s.ending, cancel)
	defer stop()

	w.Header().Set("Content-Type", "text/event-stream")
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Time{}) // the server's would end the stream
	if _, err := fmt.Fprint(w, "retry: 1000\n\n"); err != nil {
		return
	}
	for e := range s.follow(ctx, h, m) {
		data, err := json.Marshal(e.data) // on one line, as the format wants it
		if err != nil {
			s.log.Error("encoding an event", "job", h.ID(), "event", e.name, "error", err)
			return
		}
		_ = conn.SetWriteDeadline(time.Now().Add(eventTime))
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.name, data); err != nil {
			return
		}
		if err := conn.Flush(); err != nil {
			return
		}
	}
}

type statusEvent struct {
	HTML  string `json:"html"`
	State state  `json:"state"`
	Done  int    `json:"done"`
	Calls int    `json:"calls"`
}

func (s *server) statusEvent(st status) statusEvent {
	return statusEvent{HTML: s.fragment("status", st), State: st.State, Done: st.Done, Calls: st.Calls}
}

type rowEvent struct {
	Call int    `json:"call"`
	HTML string `json:"html"`
}

func (s *server) rowEvent(r row) rowEvent {
	return rowEvent{Call: r.Call, HTML: s.fragment("row", r)}
}

// fragment is a piece of a page.
func (s *server) fragment(name string, data any) string {
	var b bytes.Buffer
	if err := s.templates.ExecuteTemplate(&b, name, data); err != nil {
		s.log.Error("making a piece of a page", "template", name, "error", err)
	}
	return b.String()
}

// limit bounds how many things go on at the same time.
type limit chan struct{}

func (l limit) enter() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l limit) leave() { <-l }
