package monitor

import (
	"net/http"

	"github.com/distpool/distpool/internal/monitor/gate"
)

// route is a page. Patterns are those of http.ServeMux.
type route struct {
	pattern string
	needs   gate.Need
	serve   http.HandlerFunc
}

// eventsRoute is open for as long as it is watched. All others answer within
// answerTime.
const eventsRoute = "GET /events"

// table lists every route. Nothing else is served.
func (m *Monitor) table() []route {
	mon := m.asynqmon()
	return []route{
		{"GET /healthz", gate.NeedNone, m.alive},
		{"GET /readyz", gate.NeedNone, m.ready},
		{"GET /assets/{file}", gate.NeedNone, m.pages.Asset},
		{"GET /login", gate.NeedNone, m.loginPage},
		{"POST /login", gate.NeedNone, m.login},
		{"POST /logout", gate.NeedNone, m.logout},
		{"GET /{$}", gate.NeedToken, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/jobs", http.StatusFound) }},
		{"GET /jobs", gate.NeedToken, m.serveLive},
		{"GET /jobs/{name}", gate.NeedToken, m.toJob},
		{"GET /jobs/{queue}/{name}", gate.NeedToken, m.serveLive},
		{"GET /jobs/{queue}/{name}/failed", gate.NeedToken, m.toFailed},
		{"GET /workers", gate.NeedToken, m.serveLive},
		{"GET /throughput", gate.NeedToken, m.serveLive},
		{eventsRoute, gate.NeedToken, m.events},
		{"GET /metrics", gate.NeedToken, metricsHandler(m.cfg)},
		{"POST /jobs/{queue}/{name}/cancel", gate.NeedWrite, m.cancel},
		{"GET " + asynqmonPath + "/", gate.NeedToken, mon},
		{"POST " + asynqmonPath + "/", gate.NeedWrite, mon},
		{"DELETE " + asynqmonPath + "/", gate.NeedWrite, mon},
	}
}

// routes is the table as a handler. Each route is behind its own check, and
// nothing is served that is not in the table.
func (m *Monitor) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range m.table() {
		h := http.Handler(m.gate.Check(r.needs, r.serve))
		if r.pattern != eventsRoute {
			h = bounded(h)
		}
		mux.Handle(r.pattern, h)
	}
	mux.HandleFunc("/", m.gate.Check(gate.NeedToken, func(w http.ResponseWriter, r *http.Request) {
		m.sorry(w, r, http.StatusNotFound, "There is no such page.")
	}))
	return mux
}
