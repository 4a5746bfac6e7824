package monitor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/version"
)

//go:embed assets templates
var files embed.FS

// pages are the templates and what they refer to.
type pages struct {
	byName map[string]*template.Template
	assets map[string][]byte
	stamp  string // changes with the assets
}

// pageNames are the templates beside layout.html.
var pageNames = []string{"jobs", "job", "workers", "throughput", "login", "sorry"}

func loadPages() (*pages, error) {
	p := &pages{byName: map[string]*template.Template{}, assets: map[string][]byte{}}
	sum := sha256.New()
	entries, err := fs.ReadDir(files, "assets")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		data, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, err
		}
		p.assets[e.Name()] = data
		_, _ = sum.Write(data)
	}
	p.stamp = hex.EncodeToString(sum.Sum(nil))[:12]
	for _, name := range pageNames {
		t, err := template.New(name).Funcs(helpers).ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", name, err)
		}
		p.byName[name] = t
	}
	return p, nil
}

func (p *pages) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	data, ok := p.assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "public, max-age=86400") // their addresses carry a stamp
	_, _ = w.Write(data)
}

// page is what the layout shows.
type page struct {
	Title   string
	Section string // which of the sections it belongs to
	Login   bool   // it is the form, and has no navigation
	Live    string // the page to ask for events of; "" for none
	At      int64  // when what it shows was read, Unix ms; 0: it shows nothing yet
	Logout  bool
	Write   bool
	Stamp   string
	Version string
	Body    any
}

// show renders a page.
func (m *Monitor) show(w http.ResponseWriter, _ *http.Request, status int, name string, p page) {
	p.Stamp, p.Version, p.Write, p.Logout = m.pages.stamp, version.Of(), m.cfg.Write, m.cfg.Token != "" && !p.Login
	var b bytes.Buffer
	if err := m.pages.byName[name].ExecuteTemplate(&b, "layout", p); err != nil {
		m.cfg.Logger.Error("a page cannot be rendered", "page", name, "error", err)
		http.Error(w, "The page cannot be shown; the monitor's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
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
	m.show(w, r, status, "sorry", page{Title: title, Body: why})
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
		m.show(w, r, http.StatusServiceUnavailable, "sorry", page{Title: "Redis cannot be read", Live: r.URL.RequestURI(), Body: faultOf(err) + " This page loads itself again once Redis can be read. " + why})
		return
	}
	m.sorry(w, r, http.StatusServiceUnavailable, faultOf(err)+" "+why)
}

// isLivePage reports whether a page has a part that is kept up to date.
func isLivePage(u *url.URL) bool {
	switch u.Path {
	case "/jobs", "/workers", "/throughput":
		return true
	}
	address, ok := strings.CutPrefix(u.EscapedPath(), jobsPath)
	queue, name, _ := strings.Cut(address, "/")
	return ok && queue != "" && name != "" && !strings.Contains(name, "/")
}

// page serves the pages that are kept up to date.
func (m *Monitor) page(w http.ResponseWriter, r *http.Request) {
	v, err := m.look(r.Context(), r.URL, true)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	m.show(w, r, http.StatusOK, v.template, page{Title: v.title, Section: v.section, Live: r.URL.RequestURI(), At: v.at.UnixMilli(), Body: v.body})
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
	var b bytes.Buffer
	err = m.pages.byName[v.template].ExecuteTemplate(&b, "live", page{Write: m.cfg.Write, Body: v.body})
	return b.String(), v.at, err
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
	q, began := u.Query(), timeNow()
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
		id := strings.TrimPrefix(u.Path, jobsPath)
		body, err := m.jobView(ctx, id, q, whole)
		return view{"job", body.Task + " · job " + short(id), "jobs", body, began}, err
	}
}

// jobsPath begins the paths of the pages of jobs.
const jobsPath = "/jobs/"

// jobURL is the page of a job. Its queue is one element of the path, whatever is in it.
func jobURL(id string) string {
	a := names.SplitAddress(id)
	return jobsPath + url.PathEscape(a.Queue) + "/" + url.PathEscape(a.Name)
}

// jobOf is the address of the job that a request is about.
func jobOf(r *http.Request) string {
	return names.Address{Queue: r.PathValue("queue"), Name: r.PathValue("name")}.String()
}

// toJob leads to a job of the default queue.
func (m *Monitor) toJob(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, jobURL(r.PathValue("name")), http.StatusFound)
}

// toFailed leads to a job's failed calls, read anew: a link to a place on the page
// where the browser is would show those that it has.
func (m *Monitor) toFailed(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, jobURL(jobOf(r))+"#failed", http.StatusSeeOther)
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
	http.Redirect(w, r, jobURL(id), http.StatusSeeOther)
}
