// Package gate decides what a request to the monitor may see and do: by its token or
// session, by the name that it calls the monitor by, and by the page that a browser
// sends it from. Wrong tokens are counted (guesses.go).
package gate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
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
	// minToken is the shortest token that is accepted: a client that guesses it sees
	// everything.
	minToken = 16
	// maxToken leaves room in a request for other headers.
	maxToken = 4096

	// Policy is the Content-Security-Policy of our own pages: what they need comes from
	// here, and no script or style is in the page itself.
	Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

// Need is what a request must bring.
type Need int

// What requests must bring.
const (
	NeedToken Need = iota // the zero value: what is forgotten is closed
	NeedWrite             // the token, and a monitor that may write
	NeedNone              // nothing
)

// Config says what a gate lets in.
type Config struct {
	Token   string         // "": all requests count as if they had it
	Hosts   []string       // names of the monitor, besides localhost and IP addresses
	Proxies []netip.Prefix // those whose X-Forwarded-For is believed
	Write   bool           // what needs NeedWrite may be done
	// Unknown answers a request without the token. The gate has set WWW-Authenticate.
	Unknown http.HandlerFunc
}

// Check says what is wrong with the token or a host.
func (c Config) Check() error {
	if c.Token != "" && len(c.Token) < minToken {
		return fmt.Errorf("the token has %d characters; use %d or more, such as the output of: openssl rand -hex 16", len(c.Token), minToken)
	}
	if len(c.Token) > maxToken || c.Token != strings.TrimSpace(c.Token) || strings.ContainsFunc(c.Token, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("the token has %d characters, or one that a header of HTTP does not carry; use %d to %d printable ASCII characters, with no space at an end, such as the output of: openssl rand -hex 16", len(c.Token), minToken, maxToken)
	}
	for _, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, " /:") {
			return fmt.Errorf("%q is not the name of a host; give it without scheme and port, such as monitor.example.com", h)
		}
	}
	return nil
}

// Gate is before all handlers. Make it with New.
type Gate struct {
	cfg    Config
	token  [sha256.Size]byte // digest, so that comparing tells nothing of the length
	key    []byte            // signs sessions; a restart ends them all
	origin *http.CrossOriginProtection

	guesses guesses
}

// New makes a gate.
func New(cfg Config) *Gate {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it does not fail
	return &Gate{cfg: cfg, token: sha256.Sum256([]byte(cfg.Token)), key: key, origin: http.NewCrossOriginProtection()}
}

// Guard is around everything: it sets the headers of all answers, and refuses foreign
// names and writes that another site makes a browser send.
func (g *Gate) Guard(next http.Handler) http.Handler {
	next = g.origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", Policy)
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
func (g *Gate) knownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return true
	}
	return slices.ContainsFunc(g.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// Check lets the requests through to serve that bring what it needs.
func (g *Gate) Check(needs Need, serve http.HandlerFunc) http.HandlerFunc {
	if needs == NeedNone {
		return serve
	}
	return func(w http.ResponseWriter, r *http.Request) {
		switch ok, tooMany := g.known(r); {
		case tooMany:
			g.SetRetryAfter(w)
			http.Error(w, "Too many wrong tokens have come from this address. Try again in a minute.", http.StatusTooManyRequests)
		case !ok:
			w.Header().Set("WWW-Authenticate", `Bearer realm="distpool monitor"`)
			g.cfg.Unknown(w, r)
		case needs == NeedWrite && !g.cfg.Write:
			http.Error(w, "This monitor is read-only. Start it with --write to change anything.", http.StatusForbidden)
		default:
			serve(w, r)
		}
	}
}

// known reports whether the request brings the token, or a session that was opened
// with it; tooMany, that its client has sent too many wrong tokens to be listened to.
func (g *Gate) known(r *http.Request) (ok, tooMany bool) {
	if g.cfg.Token == "" {
		return true, false
	}
	if auth := r.Header.Get("Authorization"); auth != "" {
		scheme, token, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return false, false
		}
		return g.Try(r, strings.TrimSpace(token))
	}
	c, err := r.Cookie(cookieName)
	return err == nil && g.isSession(c.Value), false // its signature cannot be guessed
}

// Try looks at a token that came with a request: ok if it is the right one. tooMany says
// that it was not looked at, since its client has sent too many wrong ones.
func (g *Gate) Try(r *http.Request, token string) (ok, tooMany bool) {
	return g.guesses.try(addressOf(r, g.cfg.Proxies), func() bool { return g.isToken(token) })
}

// SetRetryAfter says when the gate looks at tokens of this client again.
func (g *Gate) SetRetryAfter(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.FormatInt(g.guesses.retryAfter(), 10))
}

func (g *Gate) isToken(s string) bool {
	sum := sha256.Sum256([]byte(s))
	return g.cfg.Token != "" && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// A session is "<end, Unix time>.<signature>".
func (g *Gate) session(end time.Time) string {
	until := strconv.FormatInt(end.Unix(), 10)
	return until + "." + g.sign(until)
}

func (g *Gate) sign(s string) string {
	mac := hmac.New(sha256.New, g.key)
	_, _ = mac.Write([]byte(s))
	return hex.EncodeToString(mac.Sum(nil))
}

func (g *Gate) isSession(s string) bool {
	until, sig, ok := strings.Cut(s, ".")
	if !ok || subtle.ConstantTimeCompare([]byte(sig), []byte(g.sign(until))) != 1 {
		return false
	}
	end, err := strconv.ParseInt(until, 10, 64)
	return err == nil && time.Now().Unix() < end
}

// OpenSession gives a browser that has brought the token a cookie in its place.
func (g *Gate) OpenSession(w http.ResponseWriter, r *http.Request) {
	setCookie(w, r, g.session(time.Now().Add(sessionTime)), sessionTime)
}

// CloseSession takes the cookie away.
func (*Gate) CloseSession(w http.ResponseWriter, r *http.Request) { setCookie(w, r, "", -1) }

func setCookie(w http.ResponseWriter, r *http.Request, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	})
}
