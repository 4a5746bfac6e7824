package monitor

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/distpool/distpool/internal/monitor/page"
)

// loginView is the form.
type loginView struct {
	Next  string
	Wrong string // what was wrong with the last try
}

// loginPage is the form at its own address.
func (m *Monitor) loginPage(w http.ResponseWriter, r *http.Request) {
	m.showLogin(w, r, http.StatusOK, loginView{Next: localPath(r.URL.Query().Get("next"))})
}

// unknown answers a request without the token: a person gets the form in the place of
// the page.
func (m *Monitor) unknown(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && wantsHTML(r) {
		m.showLogin(w, r, http.StatusUnauthorized, loginView{Next: localPath(r.URL.RequestURI())})
		return
	}
	http.Error(w, "The token is missing or wrong. Send it as: Authorization: Bearer TOKEN", http.StatusUnauthorized)
}

func (m *Monitor) showLogin(w http.ResponseWriter, r *http.Request, status int, v loginView) {
	if m.cfg.Token == "" { // nothing to log in to
		http.Redirect(w, r, localPath(v.Next), http.StatusSeeOther)
		return
	}
	m.show(w, status, "login", page.Page{Title: "Log in", Login: true, Body: v})
}

// login opens a session for a browser that knows the token.
func (m *Monitor) login(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.PostFormValue("next"))
	if m.cfg.Token != "" {
		ok, tooMany := m.gate.Try(r, r.PostFormValue("token"))
		if tooMany {
			m.gate.SetRetryAfter(w)
			m.showLogin(w, r, http.StatusTooManyRequests, loginView{Next: next, Wrong: "Too many logins from your address have failed. Try again in a minute."})
			return
		}
		if !ok {
			m.showLogin(w, r, http.StatusUnauthorized, loginView{Next: next, Wrong: "That is not the token."})
			return
		}
		m.gate.OpenSession(w, r)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (m *Monitor) logout(w http.ResponseWriter, r *http.Request) {
	m.gate.CloseSession(w, r)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// localPath is s if it is a page of this server, and otherwise the first one:
// a login leads to no other site.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n") {
		return "/jobs"
	}
	return s
}
