package monitor

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/monitor/live"
	"github.com/distpool/distpool/internal/monitor/page"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/version"
)

// show renders a page.
func (m *Monitor) show(w http.ResponseWriter, status int, name string, p page.Page) {
	p.Version, p.Write, p.Logout = version.Of(), m.cfg.Write, m.cfg.Token != "" && !p.Login
	html, err := m.pages.Layout(name, p)
	if err != nil {
		m.cfg.Logger.Error("a page cannot be rendered", "page", name, "error", err)
		http.Error(w, "The page cannot be shown; the monitor's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(html)
}

// sorry says what went wrong.
func (m *Monitor) sorry(w http.ResponseWriter, r *http.Request, status int, why string) {
	m.sorryFor(w, r, status, http.StatusText(status), why)
}

func (m *Monitor) sorryFor(w http.ResponseWriter, r *http.Request, status int, title, why string) {
	if !wantsHTML(r) {
		http.Error(w, why, status)
		return
	}
	m.show(w, status, "sorry", page.Page{Title: title, Body: why})
}

// fail answers a request that could not be served.
func (m *Monitor) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, inspect.ErrNoJob) {
		m.sorryFor(w, r, http.StatusNotFound, "No such job", "There is no such job: it was never here, has expired, or was forgotten.")
		return
	}
	m.cfg.Logger.Warn("reading for a page failed", "page", r.URL.Path, "error", err)
	why := "The error is: " + err.Error()
	if r.Method == http.MethodGet && wantsHTML(r) && isLivePage(r.URL) { // it loads itself again once Redis answers
		m.show(w, http.StatusServiceUnavailable, "sorry", page.Page{Title: "Redis cannot be read", Live: r.URL.RequestURI(), Body: live.Fault(err) + " This page loads itself again once Redis can be read. " + why})
		return
	}
	m.sorry(w, r, http.StatusServiceUnavailable, live.Fault(err)+" "+why)
}

// isLivePage reports whether a page has a part that is kept up to date.
func isLivePage(u *url.URL) bool {
	switch u.Path {
	case "/jobs", "/workers", "/throughput":
		return true
	}
	address, ok := strings.CutPrefix(u.EscapedPath(), page.JobsPath)
	queue, name, _ := strings.Cut(address, "/")
	return ok && queue != "" && name != "" && !strings.Contains(name, "/")
}

// serveLive serves the pages that are kept up to date.
func (m *Monitor) serveLive(w http.ResponseWriter, r *http.Request) {
	v, err := m.look(r.Context(), r.URL, true)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	m.show(w, http.StatusOK, v.template, page.Page{Title: v.title, Section: v.section, Live: r.URL.RequestURI(), At: v.at.UnixMilli(), Body: v.body})
}

// renderLive renders the part of a page that is kept up to date. at is when that was
// read.
func (m *Monitor) renderLive(ctx context.Context, topic string) (html string, at time.Time, err error) {
	u, err := url.Parse(topic)
	if err != nil {
		return "", time.Time{}, err
	}
	v, err := m.look(ctx, u, false)
	if errors.Is(err, inspect.ErrNoJob) {
		return `<p class="note">The job is gone: it has expired, or was forgotten.</p>`, v.at, nil
	}
	if err != nil {
		return "", time.Time{}, err
	}
	b, err := m.pages.Live(v.template, page.Page{Write: m.cfg.Write, Body: v.body})
	return string(b), v.at, err
}

// view is what a page is made of.
type view struct {
	template, title, section string
	body                     any
	at                       time.Time // when it was read
}

// look reads what a page shows. whole says that the part which is not kept up to
// date is wanted, too.
func (m *Monitor) look(ctx context.Context, u *url.URL, whole bool) (view, error) {
	q, began := u.Query(), time.Now()
	switch {
	case u.Path == "/jobs":
		body, err := m.jobsView(ctx, q)
		return view{"jobs", "Jobs", "jobs", body, began}, err
	case u.Path == "/workers":
		body, err := m.fleetView(ctx)
		return view{"workers", "Workers", "workers", body, body.At}, err
	case u.Path == "/throughput":
		body, err := m.fleetView(ctx)
		return view{"throughput", "Throughput", "throughput", body, body.At}, err
	default:
		id := strings.TrimPrefix(u.Path, page.JobsPath)
		body, err := m.jobView(ctx, id, q, whole)
		return view{"job", body.Task + " · job " + page.Short(id), "jobs", body, began}, err
	}
}

// jobOf is the address of the job that a request is about.
func jobOf(r *http.Request) string {
	return names.Address{Queue: r.PathValue("queue"), Name: r.PathValue("name")}.String()
}

// toJob leads to a job of the default queue.
func (m *Monitor) toJob(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, page.JobURL(r.PathValue("name")), http.StatusFound)
}

// toFailed leads to a job's failed calls, read anew: a link to a place on the page
// where the browser is would show those that it has.
func (m *Monitor) toFailed(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, page.JobURL(jobOf(r))+"#failed", http.StatusSeeOther)
}

// cancel ends a job, for a person.
func (m *Monitor) cancel(w http.ResponseWriter, r *http.Request) {
	id := jobOf(r)
	state, err := m.in.Cancel(r.Context(), id)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	m.cfg.Logger.Info("a job was canceled from the monitor", "job", id, "state", state)
	if state == job.Done && !wantsHTML(r) {
		http.Error(w, "The job is over already.", http.StatusConflict)
		return
	}
	http.Redirect(w, r, page.JobURL(id), http.StatusSeeOther)
}

// events is the stream of a page: GET /events?page=/jobs%3Ftask%3Dx.
func (m *Monitor) events(w http.ResponseWriter, r *http.Request) {
	u, err := url.Parse(r.URL.Query().Get("page"))
	if err != nil || u.IsAbs() || u.Host != "" || len(u.RequestURI()) > 2000 || !isLivePage(u) {
		http.Error(w, "There are no events for this page.", http.StatusBadRequest)
		return
	}
	m.live.Serve(w, r, u.RequestURI())
}

// wantsHTML reports whether a person waits for the answer.
func wantsHTML(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
