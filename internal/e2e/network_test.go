package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

// link is a network between clients and a Redis.
type link struct {
	*toxiproxy.Proxy
	t *testing.T
}

func newLink(t *testing.T, s *redistest.Server) *link {
	t.Helper()
	log := zerolog.Nop()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), log), "redis", "127.0.0.1:0", s.Addr())
	p.Logger = &log
	must(t, p.Start())
	t.Cleanup(p.Stop)
	return &link{p, t}
}

func (l *link) url() string { return "redis://" + l.Listen }

// cut ends all connections, and lets new ones come.
func (l *link) cut() {
	l.t.Helper()
	l.Stop()
	must(l.t, l.Start())
}

// suffer calls f while the link has a toxic, in both directions.
func (l *link) suffer(kind, attributes string, f func()) {
	l.t.Helper()
	directions := []string{"upstream", "downstream"}
	for _, d := range directions {
		_, err := l.Toxics.AddToxicJson(strings.NewReader(`{"name":"` + d + `","type":"` + kind + `","stream":"` + d + `","attributes":` + attributes + `}`))
		must(l.t, err)
	}
	f()
	for _, d := range directions {
		must(l.t, l.Toxics.RemoveToxic(context.Background(), d))
	}
}

func TestABadNetworkCostsOnlyTime(t *testing.T) {
	usual(t)
	for _, side := range []string{"of the workers", "of the producer"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			e, way := newEnv(t, s.URL(), true), newLink(t, s)
			var ofPool []func(*producer.Config)
			var ofWorkers []func(*workerSpec)
			if side == "of the workers" {
				ofWorkers = append(ofWorkers, func(w *workerSpec) { w.Redis = way.url() })
			} else {
				ofPool = append(ofPool, func(c *producer.Config) { c.Redis = way.url() })
			}
			e.worker(t, 2, ofWorkers...)
			e.worker(t, 2, ofWorkers...)
			l := e.load(t, 4, ofPool...)
			for range 5 {
				l.more(t, 5)
				way.cut()
			}
			l.more(t, 5)
			way.suffer("latency", `{"latency":100,"jitter":80}`, func() { l.more(t, 10) })
			way.suffer("bandwidth", `{"rate":20}`, func() { l.more(t, 10) }) // KB/s
			way.suffer("slicer", `{"average_size":20,"size_variation":10,"delay":200}`, func() { l.more(t, 10) })
			way.suffer("reset_peer", `{"timeout":100}`, func() { time.Sleep(2 * time.Second) })
			l.more(t, 5)
			// Nothing goes through, and nobody is told: for longer than a worker counts
			// as alive.
			way.suffer("timeout", `{"timeout":0}`, func() { time.Sleep(7 * time.Second) })
			l.more(t, 10)
			l.finish(t)
		})
	}
}
