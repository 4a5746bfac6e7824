package monitor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleettest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

const patience = fleettest.Patience

const testToken = "a token that nobody guesses"

// The same as in package fleettest.
var (
	onBoth     = fleettest.OnBoth
	eventually = fleettest.Eventually
)

// site is a monitor behind a real server.
type site struct {
	*Monitor
	url string
}

func serve(t *testing.T, rdb redis.UniversalClient, change ...func(*Config)) site {
	t.Helper()
	cfg := Config{Redis: own(t, rdb), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(m.Handler())
	t.Cleanup(srv.Close)
	t.Cleanup(m.Close) // before the server, which waits for streams
	return site{m, srv.URL}
}

// own is another client for the same Redis, which heeds deadlines: a monitor's is of
// no use to the fleet any more.
func own(t *testing.T, rdb redis.UniversalClient) redis.UniversalClient {
	t.Helper()
	switch c := rdb.(type) {
	case *redis.Client:
		o := *c.Options()
		o.ContextTimeoutEnabled = true
		rdb = redis.NewClient(&o)
	case *redis.ClusterClient:
		o := *c.Options()
		o.ContextTimeoutEnabled = true
		rdb = redis.NewClusterClient(&o)
	default:
		t.Fatalf("a client for a %T is not known", rdb)
	}
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func withToken(c *Config) { c.Token = testToken }
func writable(c *Config)  { c.Write = true }
func hiding(c *Config)    { c.HidePayloads = true }

// do sends a request as it is, following no redirect.
func (s site) do(t *testing.T, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

// get wants 200.
func (s site) get(t *testing.T, path string, header ...string) string {
	t.Helper()
	resp, body := s.do(t, http.MethodGet, path, nil, header...)
	// A preview in asynqmon has formatTime, which is little on a busy machine.
	for began := time.Now(); strings.Contains(body, context.DeadlineExceeded.Error()) && time.Since(began) < fleettest.Patience; {
		resp, body = s.do(t, http.MethodGet, path, nil, header...)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s answers %s: %.500s", path, resp.Status, body)
	}
	return body
}

var failing = tasks.Define("failing", func(_ context.Context, s string) (string, error) {
	return "", fmt.Errorf("no good: %s", s)
})

var panicking = tasks.Define("panicking", func(_ context.Context, s string) (string, error) { panic(s) })

var holding = tasks.Define("holding", func(ctx context.Context, _ int) (int, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
})

var quick = tasks.Define("quick", func(_ context.Context, n int) (int, error) { return n, nil })

// startFleet starts a pool and a worker of two slots in this process.
func startFleet(t *testing.T, rdb redis.UniversalClient) *producer.Pool {
	t.Helper()
	return fleettest.Start(t, rdb, failing, panicking, holding, quick)
}

func wantIn(t *testing.T, page, what string) {
	t.Helper()
	if !strings.Contains(page, what) {
		t.Errorf("the page has no %q", what)
	}
}

func wantNotIn(t *testing.T, page, what string) {
	t.Helper()
	if i := strings.Index(page, what); i >= 0 {
		t.Errorf("the page has %q: %.300q", what, page[max(0, i-100):])
	}
}
