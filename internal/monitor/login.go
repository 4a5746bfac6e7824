package monitor

import "net/http"

// loginView is the form.
type loginView struct {
	Next  string
	Wrong string // what was wrong with the last try
}

// loginPage is the form, at its own address and in the place of a page that
// nobody may see without it.
func (m *Monitor) loginPage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/login" {
		m.showLogin(w, r, http.StatusOK, loginView{Next: localPath(r.URL.Query().Get("next"))})
		return
	}
	m.showLogin(w, r, http.StatusUnauthorized, loginView{Next: localPath(r.URL.RequestURI())})
}

func (m *Monitor) showLogin(w http.ResponseWriter, r *http.Request, status int, v loginView) {
	if m.cfg.Token == "" { // nothing to log in to
		http.Redirect(w, r, localPath(v.Next), http.StatusSeeOther)
		return
	}
	m.show(w, r, status, "login", page{Title: "Log in", Login: true, Body: v})
}

// login opens a session for a browser that knows the token.
func (m *Monitor) login(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.PostFormValue("next"))
	if m.cfg.Token != "" {
		ok, tooMany := m.gate.try(r, r.PostFormValue("token"))
		if tooMany {
			m.gate.sayTooMany(w)
			m.showLogin(w, r, http.StatusTooManyRequests, loginView{Next: next, Wrong: "Too many logins from your address have failed. Try again in a minute."})
			return
		}
		if !ok {
			m.showLogin(w, r, http.StatusUnauthorized, loginView{Next: next, Wrong: "That is not the token."})
			return
		}
		http.SetCookie(w, m.gate.cookie(r, m.gate.session(timeNow().Add(sessionTime)), sessionTime))
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (m *Monitor) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, m.gate.cookie(r, "", -1))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
