package monitor

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/monitor/gate"
	"github.com/distpool/distpool/producer"
)

// requests are one for each method and path of a pattern, and more where a
// pattern covers much.
func requests(t *testing.T, pattern string) [][2]string {
	t.Helper()
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		t.Fatalf("the pattern %q has no method: it would answer all of them", pattern)
	}
	path = strings.NewReplacer("{queue}", "a%2Fb", "{name}", "some", "{file}", "style.css", "{$}", "").Replace(path)
	if strings.Contains(path, "{") {
		t.Fatalf("this test does not know what to put into %q; teach it", pattern)
	}
	all := [][2]string{{method, path}}
	if path == asynqmonPath+"/" {
		for _, p := range []string{
			"index.html", "static/js/main.5adda2da.chunk.js", "favicon.ico", "queues/distpool", "manifest.json",
			"api/queues", "api/queues/distpool", "api/queues/distpool:pause", "api/queues/distpool:resume", "api/queue_stats",
			"api/queues/distpool/pending_tasks", "api/queues/distpool/pending_tasks/x", "api/queues/distpool/pending_tasks:delete_all",
			"api/queues/distpool/archived_tasks", "api/queues/distpool/archived_tasks:run_all", "api/queues/distpool/archived_tasks/x:run",
			"api/queues/distpool/active_tasks", "api/queues/distpool/active_tasks/x:cancel", "api/queues/distpool/completed_tasks",
			"api/queues/distpool/scheduled_tasks", "api/queues/distpool/retry_tasks", "api/queues/distpool/tasks/x", "api/servers",
			"api/scheduler_entries", "api/redis_info", "api/metrics", "api/nothing",
		} {
			all = append(all, [2]string{method, path + p})
		}
	}
	return all
}

func TestNoRouteAnswersWithoutTheTokenButThoseThatMust(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := startFleet(t, rdb)
		fill(t, p)
		s := serve(t, rdb, withToken, writable)
		var open []string
		for _, r := range s.table() {
			if r.needs == gate.NeedNone {
				open = append(open, r.pattern)
				continue
			}
			for _, req := range requests(t, r.pattern) {
				for _, header := range [][]string{
					nil,
					{"Accept", "text/html"},
					{"Authorization", "Bearer wrong"},
					{"Authorization", "Basic " + testToken},
					{"Authorization", testToken},
					{"Cookie", "distpool_monitor=" + testToken},
					{"Cookie", "distpool_monitor=99999999999." + strings.Repeat("0", 64)},
				} {
					resp, body := s.do(t, req[0], req[1], nil, header...)
					// So many wrong tokens are too many, in the end.
					if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusTooManyRequests {
						t.Errorf("%s %s with %q answers %s without the token", req[0], req[1], header, resp.Status)
					}
					for _, secret := range []string{"failing", "no good", "host:", "quick"} {
						if strings.Contains(body, secret) {
							t.Errorf("%s %s with %q tells %q without the token", req[0], req[1], header, secret)
						}
					}
				}
			}
		}
		// Whoever adds a route that is open to everybody must do it here, too.
		want := []string{"GET /healthz", "GET /readyz", "GET /assets/{file}", "GET /login", "POST /login", "POST /logout"}
		if !slices.Equal(open, want) {
			t.Errorf("open to everybody are %q, want %q", open, want)
		}
		for _, path := range []string{"/nothing", "/jobs/", "/asynqmon", "/metrics/", "/debug/pprof/", "/assets", "/events/x", "//jobs", "/assets/../jobs"} {
			if resp, _ := s.do(t, http.MethodGet, path, nil); resp.StatusCode == http.StatusOK {
				t.Errorf("GET %s, which is no route, answers %s", path, resp.Status)
			}
		}
	})
}

// loggedIn is the cookie of a browser that has sent the token by the form.
func (s site) loggedIn(t *testing.T) *http.Cookie {
	t.Helper()
	resp, _ := s.do(t, http.MethodPost, "/login", strings.NewReader(url.Values{"token": {testToken}, "next": {"/workers"}}.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/workers" {
		t.Fatalf("the login answers %s to %q", resp.Status, resp.Header.Get("Location"))
	}
	return resp.Cookies()[0]
}

func TestTheTokenOpensEveryPage(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := startFleet(t, rdb)
		fill(t, p)
		s := serve(t, rdb, withToken)
		bearer := []string{"Authorization", "Bearer " + testToken}
		for _, path := range []string{"/jobs", "/workers", "/throughput", "/metrics", "/asynqmon/", "/asynqmon/api/queues", "/asynqmon/api/redis_info"} {
			s.get(t, path, bearer...)
		}
		cookie := s.loggedIn(t)
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || strings.Contains(cookie.Value, testToken) || cookie.Path != "/" {
			t.Errorf("the cookie is %+v", cookie)
		}
		wantIn(t, s.get(t, "/workers", "Cookie", cookie.Name+"="+cookie.Value), "slots busy")
	})
}

func TestLoginRefusesWrongTokensAndSendsNobodyElsewhere(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb, withToken)
		login := func(token, next string) *http.Response {
			resp, _ := s.do(t, http.MethodPost, "/login", strings.NewReader(url.Values{"token": {token}, "next": {next}}.Encode()), "Content-Type", "application/x-www-form-urlencoded")
			return resp
		}
		for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:alert(1)", "", "jobs", "/\nx"} {
			if resp := login(testToken, next); resp.Header.Get("Location") != "/jobs" {
				t.Errorf("after the login, %q leads to %q", next, resp.Header.Get("Location"))
			}
		}
		if resp := login("wrong", "/"); resp.StatusCode != http.StatusUnauthorized || len(resp.Cookies()) != 0 {
			t.Errorf("a wrong token answers %s", resp.Status)
		}
	})
}

func TestReadOnlyMonitorRefusesToWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := startFleet(t, rdb)
		held, err := producer.ApplyAsync(t.Context(), p, holding, 1)
		if err != nil {
			t.Fatal(err)
		}
		s := serve(t, rdb)
		for _, r := range s.table() {
			if r.needs != gate.NeedWrite {
				continue
			}
			for _, req := range requests(t, r.pattern) {
				if resp, _ := s.do(t, req[0], req[1], nil); resp.StatusCode != http.StatusForbidden {
					t.Errorf("%s %s answers %s", req[0], req[1], resp.Status)
				}
			}
		}
		for _, method := range []string{"PUT", "PATCH", "DELETE", "POST"} {
			for _, path := range []string{"/jobs/" + held.ID() + "/cancel", "/jobs/" + held.ID(), "/asynqmon/api/queues/distpool"} {
				if resp, _ := s.do(t, method, path, nil); resp.StatusCode < 400 {
					t.Errorf("%s %s answers %s", method, path, resp.Status)
				}
			}
		}
		if page := s.get(t, "/jobs/"+held.ID()); strings.Contains(page, "Cancel job") {
			t.Error("there is a button to cancel")
		}
		if d, err := s.in.Job(t.Context(), held.ID(), 1); err != nil || d.Status.Over() {
			t.Errorf("after all that the job is %s, %v", d.Status, err)
		}
		w := serve(t, rdb, writable)
		if resp, _ := w.do(t, http.MethodPost, "/jobs/"+held.ID()+"/cancel", nil); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("a monitor that may write answers %s", resp.Status)
		}
		if d, err := s.in.Job(t.Context(), held.ID(), 1); err != nil || d.Status != inspect.Canceled {
			t.Errorf("the canceled job is %s, %v", d.Status, err)
		}
		if resp, _ := w.do(t, http.MethodPost, "/asynqmon/api/queues/distpool:pause", nil); resp.StatusCode >= 300 {
			t.Errorf("pausing a queue in asynqmon answers %s", resp.Status)
		}
		if resp, _ := w.do(t, http.MethodPost, "/asynqmon/api/queues/distpool:resume", nil); resp.StatusCode >= 300 {
			t.Errorf("resuming a queue in asynqmon answers %s", resp.Status)
		}
	})
}

func TestOtherSitesCannotMakeABrowserWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb, writable)
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
		} {
			for _, path := range []string{"/jobs/q/x/cancel", "/asynqmon/api/queues/distpool:pause", "/login", "/logout"} {
				if resp, _ := s.do(t, http.MethodPost, path, nil, header...); resp.StatusCode != http.StatusForbidden {
					t.Errorf("POST %s with %q answers %s", path, header, resp.Status)
				}
			}
		}
		if resp, _ := s.do(t, http.MethodPost, "/jobs/q/x/cancel", nil, "Origin", s.url, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != http.StatusNotFound {
			t.Errorf("the page's own request answers %s, want that there is no such job", resp.Status)
		}
	})
}

func TestNamesThatAreNotTheMonitorsAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb, func(c *Config) { c.Hosts = []string{"monitor.example.com"} })
		for host, want := range map[string]int{
			"localhost": 200, "localhost:8500": 200, "127.0.0.1:1": 200, "[::1]:8500": 200, "10.1.2.3": 200,
			"monitor.example.com": 200, "MONITOR.example.com:443": 200,
			"evil.example": 421, "evil.example:8500": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421,
		} {
			if resp, _ := s.do(t, http.MethodGet, "/jobs", nil, "Host", host); resp.StatusCode != want {
				t.Errorf("as %q it answers %s, want %d", host, resp.Status, want)
			}
		}
		if resp, _ := s.do(t, http.MethodGet, "/healthz", nil, "Host", "probe.internal"); resp.StatusCode != http.StatusOK {
			t.Errorf("the health answers %s", resp.Status)
		}
	})
}

func TestEveryAnswerCarriesItsPolicy(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb, withToken)
		for path, want := range map[string]string{"/jobs": gate.Policy, "/nothing": gate.Policy, "/login": gate.Policy, "/healthz": gate.Policy, "/asynqmon/": asynqmonPolicy} {
			resp, body := s.do(t, http.MethodGet, path, nil, "Authorization", "Bearer "+testToken)
			if got := resp.Header.Get("Content-Security-Policy"); got != want {
				t.Errorf("the policy of %s is %q", path, got)
			}
			if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("%s may be framed or sniffed", path)
			}
			if want == gate.Policy {
				for _, bad := range []string{"<script>", "style=", "onclick", "javascript:"} {
					wantNotIn(t, body, bad)
				}
			}
		}
	})
}

func TestConfigurationsThatAreNotSafeAreRefused(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { rdb.Close() })
	for _, tt := range []struct {
		cfg  Config
		want string // in the error; "" for none
	}{
		{Config{}, ""},
		{Config{Addr: "localhost:0"}, ""},
		{Config{Addr: "[::1]:80"}, ""},
		{Config{Addr: "0.0.0.0:8500", Token: testToken}, ""},
		{Config{Addr: "0.0.0.0:8500"}, "there is no token"},
		{Config{Addr: ":8500"}, "there is no token"},
		{Config{Addr: "10.0.0.1:8500"}, "there is no token"},
		{Config{Addr: "example.com:8500"}, "there is no token"},
		{Config{Token: "short"}, "the token has 5 characters"},
		{Config{Token: strings.Repeat("x", 4096)}, ""},
		{Config{Token: strings.Repeat("x", 4097)}, "the token has 4097 characters"},
		{Config{Token: " " + testToken}, "no space at an end"},
		{Config{Token: testToken + "\n"}, "printable ASCII"},
		{Config{Token: testToken + "é"}, "printable ASCII"},
		{Config{Addr: "127.0.0.1"}, "not host:port"},
		{Config{Addr: "127.0.0.1:http"}, "not a number"},
		{Config{Addr: "127.0.0.1:70000"}, "not a number"},
		{Config{Hosts: []string{"https://x"}}, "not the name of a host"},
	} {
		tt.cfg.Redis = rdb
		err := tt.cfg.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the error is %v, want %q", fmt.Sprint(tt.cfg.Addr, tt.cfg.Token, tt.cfg.Hosts), err, tt.want)
		}
	}
}
