package monitor

import (
	"net/http"
	"strings"
)

// need is what a request must bring to reach a route.
type need int

const (
	needToken need = iota // the zero value: what is forgotten is closed
	needWrite             // the token, and a monitor that may write
	needNone              // nothing: this answers everybody
)

// route is a page. Patterns are those of http.ServeMux.
type route struct {
	pattern string
	needs   need
	serve   http.HandlerFunc
}

// eventsRoute is open for as long as it is watched. All others answer within
// answerTime.
const eventsRoute = "GET /events"

// table lists every route. Nothing else is served.
func (m *Monitor) table() []route {
	mon := m.asynqmon()
	return []route{
		{"GET /healthz", needNone, m.alive},
		{"GET /readyz", needNone, m.ready},
		{"GET /assets/{file}", needNone, m.pages.asset},
		{"GET /login", needNone, m.loginPage},
		{"POST /login", needNone, m.login},
		{"POST /logout", needNone, m.logout},
		{"GET /{$}", needToken, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/jobs", http.StatusFound) }},
		{"GET /jobs", needToken, m.page},
		{"GET /jobs/{name}", needToken, m.toJob},
		{"GET /jobs/{queue}/{name}", needToken, m.page},
		{"GET /jobs/{queue}/{name}/failed", needToken, m.toFailed},
		{"GET /workers", needToken, m.page},
		{"GET /throughput", needToken, m.page},
		{eventsRoute, needToken, m.events},
		{"GET /metrics", needToken, metricsHandler(m.cfg)},
		{"POST /jobs/{queue}/{name}/cancel", needWrite, m.cancel},
		{"GET " + asynqmonPath + "/", needToken, mon},
		{"POST " + asynqmonPath + "/", needWrite, mon},
		{"DELETE " + asynqmonPath + "/", needWrite, mon},
	}
}

// routes is the table as a handler. Each route is behind its own check, and
// nothing is served that is not in the table.
func (m *Monitor) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range m.table() {
		h := http.Handler(m.gate.check(r))
		if r.pattern != eventsRoute {
			h = bounded(h)
		}
		mux.Handle(r.pattern, h)
	}
	mux.HandleFunc("/", m.gate.check(route{pattern: "/", serve: func(w http.ResponseWriter, r *http.Request) {
		m.sorry(w, r, http.StatusNotFound, "There is no such page.")
	}}))
	return mux
}

// wantsHTML reports whether a person waits for the answer.
func wantsHTML(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
