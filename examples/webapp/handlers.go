package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/distpool/distpool/examples/webapp/inspect"
)

const (
	// submitTime bounds a submission. It goes on when the browser leaves: what is
	// half submitted helps nobody.
	submitTime = 30 * time.Second
	// arriveTime is how long a page waits for outcomes that Redis has.
	arriveTime = 2 * time.Second
)

func (s *server) home(w http.ResponseWriter, _ *http.Request) {
	s.render(w, http.StatusOK, "home", map[string]any{
		"Form": rand.Text(), "Upload": maxUpload >> 20, "Files": maxFiles, "File": maxFile >> 20, "Keep": s.jobs.keep,
	})
}

func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	if !s.uploads.enter() {
		w.Header().Set("Retry-After", "5")
		s.message(w, http.StatusServiceUnavailable, "Too many uploads are under way. Try again in a moment.")
		return
	}
	defer s.uploads.leave()
	r.Body = http.MaxBytesReader(w, r.Body, maxUpload)
	form, uploaded, err := readForm(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.submit(w, r, form, uploaded)
}

// readForm reads the parts of the form as they come, none of them to a disk.
func readForm(r *http.Request) (form string, uploaded []inspect.File, err error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return "", nil, refuse("this is no form with files")
	}
	form = rand.Text() // for programs, which send none
	var list files
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", nil, orBroken(err)
		}
		data, err := io.ReadAll(part)
		switch {
		case err != nil:
			return "", nil, orBroken(err)
		case part.FormName() == "form":
			form = string(data)
		case part.FileName() != "":
			if err := list.add(part.FileName(), data); err != nil {
				return "", nil, err
			}
		}
	}
	if len(list.list) == 0 {
		return "", nil, refuse("there is no file in it")
	}
	return form, list.list, nil
}

// orBroken is the error of an upload that is too large, or of one that broke off.
func orBroken(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return refuse("it did not arrive whole")
}

func (s *server) sample(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
	form := r.PostFormValue("form")
	if form == "" {
		form = rand.Text()
	}
	s.submit(w, r, form, sampleFiles())
}

func (s *server) submit(w http.ResponseWriter, r *http.Request, form string, list []inspect.File) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), submitTime)
	defer cancel()
	id, err := s.jobs.submit(ctx, form, list)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/jobs/"+id, http.StatusSeeOther)
}

func (s *server) job(w http.ResponseWriter, r *http.Request) {
	h, m, err := s.jobs.attach(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), arriveTime)
	defer cancel()
	s.render(w, http.StatusOK, "job", newPage(ctx, r.PathValue("id"), h, m))
}

func (s *server) cancel(w http.ResponseWriter, r *http.Request) {
	h, _, err := s.jobs.attach(r.Context(), r.PathValue("id"))
	if err == nil {
		err = h.Cancel(r.Context())
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/jobs/"+r.PathValue("id"), http.StatusSeeOther)
}

// message is a page with a sentence on it.
func (s *server) message(w http.ResponseWriter, code int, text string) {
	s.render(w, code, "message", text)
}

func (s *server) render(w http.ResponseWriter, code int, name string, data any) {
	html := s.fragment(name, data) // before the first byte is out, so that an error shows
	if html == "" {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, html) // a browser that has gone needs no answer
}

// functions are what templates can call.
var functions = template.FuncMap{
	"bytes": func(n int) string {
		switch {
		case n < 1<<10:
			return fmt.Sprintf("%d bytes", n)
		case n < 1<<20:
			return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
		}
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	},
	"percent": func(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) },
	"about":   about,
	"count":   count,
	"round":   func(x float64) int { return int(x + 0.5) },
	"time":    func(t time.Time) string { return t.Format("2006-01-02 15:04 MST") },
}

// about is a duration for people, such as 2h or 4m10s.
func about(d time.Duration) string {
	exact := time.Second
	if d > time.Minute {
		exact = 10 * time.Second // more would look as if it were known
	}
	text := d.Round(exact).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
