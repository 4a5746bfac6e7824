package monitor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	cookieName  = "distpool_monitor"
	sessionTime = 12 * time.Hour
	// maxBody is the largest body of a request.
	maxBody = 1 << 20

	// strictPolicy is for our own pages: what they need comes from here, and no
	// script or style is in the page itself.
	strictPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

// gate decides who may see and do what.
type gate struct {
	cfg    Config
	token  [sha256.Size]byte // digest, so that comparing tells nothing of the length
	key    []byte            // signs sessions; a restart ends them all
	origin *http.CrossOriginProtection
	login  func(w http.ResponseWriter, r *http.Request) // shows the form

	guesses guesses
}

func newGate(cfg Config) *gate {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it does not fail
	return &gate{cfg: cfg, token: sha256.Sum256([]byte(cfg.Token)), key: key, origin: http.NewCrossOriginProtection()}
}

// guard is around everything.
func (g *gate) guard(next http.Handler) http.Handler {
	next = g.origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", strictPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && !g.knownHost(r.Host) {
			http.Error(w, "This name is not one of the monitor's. Use an IP address or localhost, or start it with --allow-host NAME.", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// knownHost refuses names that may belong to an attacker, who makes them mean
// this machine to get around the browser's same-origin rule. That does not work
// with addresses.
func (g *gate) knownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return true
	}
	return slices.ContainsFunc(g.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// check is before each route.
func (g *gate) check(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ok, tooMany := true, false
		if rt.needs != needNone {
			ok, tooMany = g.known(r)
		}
		if tooMany {
			g.sayTooMany(w)
			http.Error(w, "Too many wrong tokens have come from this address. Try again in a minute.", http.StatusTooManyRequests)
			return
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="distpool monitor"`)
			if r.Method == http.MethodGet && wantsHTML(r) {
				g.login(w, r)
				return
			}
			http.Error(w, "The token is missing or wrong. Send it as: Authorization: Bearer TOKEN", http.StatusUnauthorized)
			return
		}
		if rt.needs == needWrite && !g.cfg.Write {
			http.Error(w, "This monitor is read-only. Start it with --write to change anything.", http.StatusForbidden)
			return
		}
		rt.serve(w, r)
	}
}

// known reports whether the request brings the token, or a session that was opened
// with it; tooMany, that its client has sent too many wrong tokens to be listened to.
func (g *gate) known(r *http.Request) (ok, tooMany bool) {
	if g.cfg.Token == "" {
		return true, false
	}
	if auth := r.Header.Get("Authorization"); auth != "" {
		scheme, token, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return false, false
		}
		return g.try(r, strings.TrimSpace(token))
	}
	c, err := r.Cookie(cookieName)
	return err == nil && g.isSession(c.Value), false // its signature cannot be guessed
}

// try looks at a token that came with a request.
func (g *gate) try(r *http.Request, token string) (ok, tooMany bool) {
	return g.guesses.try(addressOf(r, g.cfg.Proxies), func() bool { return g.isToken(token) })
}

func (g *gate) sayTooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.FormatInt(g.guesses.retryAfter(), 10))
}

func (g *gate) isToken(s string) bool {
	sum := sha256.Sum256([]byte(s))
	return g.cfg.Token != "" && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// A session is "<end, Unix time>.<signature>".
func (g *gate) session(end time.Time) string {
	until := strconv.FormatInt(end.Unix(), 10)
	return until + "." + g.sign(until)
}

func (g *gate) sign(s string) string {
	mac := hmac.New(sha256.New, g.key)
	_, _ = mac.Write([]byte(s))
	return hex.EncodeToString(mac.Sum(nil))
}

func (g *gate) isSession(s string) bool {
	until, sig, ok := strings.Cut(s, ".")
	if !ok || subtle.ConstantTimeCompare([]byte(sig), []byte(g.sign(until))) != 1 {
		return false
	}
	end, err := strconv.ParseInt(until, 10, 64)
	return err == nil && time.Now().Unix() < end
}

func (g *gate) cookie(r *http.Request, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
}

// localPath is s if it is a page of this server, and otherwise the first one:
// nobody is sent elsewhere after the login.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n") {
		return "/jobs"
	}
	return s
}
