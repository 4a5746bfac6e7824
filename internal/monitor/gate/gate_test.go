package gate

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestASessionEndsAndCannotBeForged(t *testing.T) {
	const token = "a token of many characters"
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	g := New(Config{Token: token, Unknown: refuse})
	served := g.Check(NeedToken, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	rec := httptest.NewRecorder()
	g.OpenSession(rec, httptest.NewRequest(http.MethodPost, "/login", nil))
	open := rec.Result().Cookies()[0].Value
	_, signature, _ := strings.Cut(open, ".")
	for value, want := range map[string]int{
		open:                                    http.StatusOK,
		g.session(time.Now().Add(-time.Second)): http.StatusUnauthorized,
		"1." + g.sign("1"):                      http.StatusUnauthorized, // signed, and over since 1970
		"99999999999." + signature:              http.StatusUnauthorized,
		New(Config{Token: token}).session(time.Now().Add(time.Hour)): http.StatusUnauthorized, // before a restart
	} {
		r := httptest.NewRequest(http.MethodGet, "/jobs", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: value})
		rec := httptest.NewRecorder()
		if served(rec, r); rec.Code != want {
			t.Errorf("the session %s answers %d, want %d", value, rec.Code, want)
		}
	}
}

func TestClientsAreToldApartByWhatTheyCannotChoose(t *testing.T) {
	proxies, err := ParseProxies([]string{"10.0.0.0/8", "2001:db8:f::/48", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "198.51.100.1", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:1", "", "192.0.2.1"},
		{"[2001:db8:1:2:3:4:5:6]:1", "", "2001:db8:1:2::"},
		{"[fe80::1%eth0]:1", "", "fe80::"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "192.0.2.9, 198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "198.51.100.1,10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:1", "198.51.100.1:99", "198.51.100.1"},
		{"10.0.0.1:1", "[2001:db8::7]:99", "2001:db8::"},
		{"10.0.0.1:1", "10.0.0.3", "10.0.0.3"},
		{"10.0.0.1:1", "unknown", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1, unknown", "10.0.0.1"},
		{"[2001:db8:f::1]:1", "198.51.100.1", "198.51.100.1"},
		{"[::1]:1", "198.51.100.1", "198.51.100.1"},
		{"@", "", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := addressOf(r, proxies).String(); got != tt.want {
			t.Errorf("%s, forwarded for %q, is %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
	for _, word := range []string{"", "proxy", "10.0.0.0/33", "10.0.0.1:80", "/8"} {
		if _, err := ParseProxies([]string{word}); err == nil || !strings.Contains(err.Error(), "10.1.0.0/16") {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestGuessersAreForgottenBeforeTheyFillTheMemory(t *testing.T) {
	var g guesses
	wrong := func() bool { return false }
	for i := range uint32(3 * maxGuessers) {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], i)
		if _, tooMany := g.try(netip.AddrFrom4(ip), wrong); tooMany {
			t.Fatalf("client %d is locked out by the others", i)
		}
	}
	if len(g.wrong) > maxGuessers {
		t.Errorf("%d clients are remembered", len(g.wrong))
	}
}
