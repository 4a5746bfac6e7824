package monitor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
)

func clientOf(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	target, err := redisconn.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	rdb := target.Client()
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// stream is an open event stream, and the last that it brought.
type stream struct {
	mu    sync.Mutex // guards all below
	fault string     // "" after an event "fresh"
	at    time.Time
	news  int
}

func (s site) stream(t *testing.T, page string) *stream {
	t.Helper()
	ctx, leave := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(leave)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events?page="+url.QueryEscape(page), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream of %s answers %v, %v", page, resp, err)
	}
	st := &stream{}
	go st.read(resp.Body)
	return st
}

func (st *stream) read(body io.ReadCloser) {
	defer body.Close()
	sc := bufio.NewScanner(body)
	sc.Buffer(nil, 1<<20)
	kind := ""
	for sc.Scan() {
		if name, ok := strings.CutPrefix(sc.Text(), "event: "); ok {
			kind = name
			continue
		}
		data, ok := strings.CutPrefix(sc.Text(), "data: ")
		if !ok {
			continue
		}
		st.mu.Lock()
		switch kind {
		case "fresh":
			var ms int64
			_ = json.Unmarshal([]byte(data), &ms)
			st.fault, st.at, st.news = "", time.UnixMilli(ms), st.news+1
		case "stale":
			_ = json.Unmarshal([]byte(data), &st.fault)
		}
		st.mu.Unlock()
	}
}

func (st *stream) look() (fault string, at time.Time, news int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.fault, st.at, st.news
}

// readable are requests for all that the monitor lets be read, but for streams.
func (s site) readable(t *testing.T) (paths []string) {
	t.Helper()
	for _, r := range s.table() {
		if !strings.HasPrefix(r.pattern, "GET ") || r.pattern == eventsRoute {
			continue
		}
		for _, req := range requests(t, r.pattern) {
			paths = append(paths, req[1])
		}
	}
	return append(paths, "/nothing")
}

// slowest asks for everything at once, and says what was answered last.
func (s site) slowest(t *testing.T, paths []string) (path string, took time.Duration, status map[string]int) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	status = map[string]int{}
	for _, p := range paths {
		all.Go(func() {
			began := time.Now()
			resp, _ := s.do(t, http.MethodGet, p, nil)
			mu.Lock()
			defer mu.Unlock()
			if status[p] = resp.StatusCode; time.Since(began) > took {
				path, took = p, time.Since(began)
			}
		})
	}
	all.Wait()
	return path, took, status
}

// With 12 open streams, as of three browsers with four pages each.
func TestDeadRedisHoldsUpNoRequestAndNoStream(t *testing.T) {
	try := func(t *testing.T, rdb redis.UniversalClient, f fault) {
		t.Helper()
		s := serve(t, rdb)
		paths := s.readable(t)
		var streams []*stream
		for range 3 {
			for _, page := range []string{"/jobs", "/jobs?task=x", "/workers", "/throughput"} {
				streams = append(streams, s.stream(t, page))
			}
		}
		each := func(f func(fault string, at time.Time, news int) bool) func() bool {
			return func() bool {
				for _, st := range streams {
					if !f(st.look()) {
						return false
					}
				}
				return true
			}
		}
		inTime(t, func() []time.Duration {
			until(t, "all streams are live", each(func(fault string, _ time.Time, news int) bool { return fault == "" && news > 0 }))
			f.hurt(t)
			hurt := time.Now()
			toStale := until(t, "all streams say that they are stale", each(func(fault string, _ time.Time, _ int) bool { return strings.HasPrefix(fault, "Redis ") }))
			if !each(func(_ string, at time.Time, _ int) bool {
				return at.Before(hurt.Add(time.Second)) && hurt.Sub(at) < soon
			})() {
				t.Errorf("the fault is of %v, but a stream says that it was read at another time", hurt)
			}
			path, took, status := s.slowest(t, paths)
			if status["/healthz"] != http.StatusOK || status["/readyz"] != http.StatusServiceUnavailable || status["/jobs"] != http.StatusServiceUnavailable {
				t.Errorf("/healthz answers %d, /readyz %d, /jobs %d", status["/healthz"], status["/readyz"], status["/jobs"])
			}
			f.heal(t)
			healed := time.Now()
			toLive := until(t, "all streams are live again", each(func(fault string, at time.Time, _ int) bool { return fault == "" && at.After(healed) }))
			if resp, _ := s.do(t, http.MethodGet, "/readyz", nil); resp.StatusCode != http.StatusOK {
				t.Errorf("afterwards /readyz answers %s", resp.Status)
			}
			t.Logf("the slowest answer is that of %s", path)
			return []time.Duration{toStale, toLive, took}
		})
	}
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		try(t, s.Client(t), stopped(s))
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		try(t, s.Client(t), killed(s))
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		f, addr := slowed(t, redistest.Start(t).Addr(), 3*time.Second)
		try(t, clientOf(t, addr), f)
	})
	t.Run("cluster stopped", func(t *testing.T) {
		t.Parallel()
		servers := redistest.StartCluster(t, 3)
		try(t, clientOf(t, redistest.ClusterURL(servers)), stopped(servers...))
	})
	t.Run("embedded killed", func(t *testing.T) {
		t.Parallel()
		mr := miniredis.RunT(t)
		rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
		t.Cleanup(func() { rdb.Close() })
		try(t, rdb, fault{
			func(*testing.T) { mr.Close() },
			func(t *testing.T) {
				t.Helper()
				if err := mr.Restart(); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

// Twenty queues, and 100 ms to Redis: asked one after the other, they would take 4 s.
func TestPagesOfADistantRedisAreLive(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for i := range 20 {
		if err := server.Client(t).SAdd(t.Context(), "asynq:queues", fmt.Sprint("queue", i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	f, addr := slowed(t, server.Addr(), 100*time.Millisecond)
	f.hurt(t)
	s := serve(t, clientOf(t, addr))
	workers, jobs := s.stream(t, "/workers"), s.stream(t, "/jobs")
	for _, st := range []*stream{workers, jobs} {
		until(t, "the stream is live", func() bool { fault, _, news := st.look(); return fault == "" && news > 1 })
	}
	wantIn(t, s.get(t, "/workers"), "queue19")
	until(t, "the metrics know the queues", func() bool { return strings.Contains(s.get(t, "/metrics"), "distpool_queues_up 1\n") })
}
