package monitor

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/monitor/gate"
)

// guesser is a client of the monitor with an address of its own.
type guesser struct {
	site      site
	client    *http.Client
	forwarded string // X-Forwarded-For
}

func newGuesser(t *testing.T, s site, addr, forwarded string) guesser {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return guesser{s, &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, forwarded}
}

func (g guesser) send(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	if g.forwarded != "" {
		req.Header.Set("X-Forwarded-For", g.forwarded)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// login sends the token by the form, bearer by the header. Both return the status.
func (g guesser) login(t *testing.T, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.site.url+"/login", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return g.send(t, req).StatusCode
}

func (g guesser) bearer(t *testing.T, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.site.url+"/jobs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp := g.send(t, req)
	if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	return resp.StatusCode
}

// exhaust sends wrong tokens until no more are looked at. Another minute may begin
// in between.
func (g guesser) exhaust(t *testing.T, try func(t *testing.T, token string) int) {
	t.Helper()
	for range 100 {
		switch status := try(t, "wrong"); status {
		case http.StatusTooManyRequests:
			return
		case http.StatusUnauthorized:
		default:
			t.Fatalf("a wrong token answers %d", status)
		}
	}
	t.Error("no wrong token was one too many")
}

func TestWrongTokensOfOneClientLockOutNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb, withToken)
		bad, good := newGuesser(t, s, "127.0.0.1", ""), newGuesser(t, s, "127.0.0.2", "")
		bad.exhaust(t, bad.login)
		if status := good.login(t, testToken); status != http.StatusSeeOther {
			t.Errorf("the login of another client answers %d", status)
		}
		if status := good.bearer(t, testToken); status != http.StatusOK {
			t.Errorf("the token of another client answers %d", status)
		}
		// What one client says of itself does not make it another.
		bad.forwarded = "192.0.2.1"
		bad.exhaust(t, bad.bearer)
	})
}

func TestWrongTokensInHeadersAreLimitedToo(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb, withToken)
		g := newGuesser(t, s, "127.0.0.3", "")
		session := s.loggedIn(t)
		g.exhaust(t, g.bearer)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/jobs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(session)
		if resp := g.send(t, req); resp.StatusCode != http.StatusOK {
			t.Errorf("an open session answers %s", resp.Status)
		}
	})
}

func TestATrustedProxySaysWhoGuesses(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		proxies, err := gate.ParseProxies([]string{"127.0.0.9", "10.0.0.0/8"})
		if err != nil {
			t.Fatal(err)
		}
		s := serve(t, rdb, withToken, func(c *Config) { c.Proxies = proxies })
		bad := newGuesser(t, s, "127.0.0.9", "198.51.100.1, 192.0.2.1, 10.1.2.3")
		good := newGuesser(t, s, "127.0.0.9", "192.0.2.2, 10.1.2.3")
		bad.exhaust(t, bad.bearer)
		bad.forwarded = "203.0.113.7, 192.0.2.1:4711" // what it makes up itself stands further left
		bad.exhaust(t, bad.bearer)
		if status := good.bearer(t, testToken); status != http.StatusOK {
			t.Errorf("another client behind the proxy answers %d", status)
		}
	})
}
