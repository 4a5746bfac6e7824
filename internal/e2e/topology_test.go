package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
)

// envRedis names the topologies on which the suite runs, separated by commas.
const envRedis = "DISTPOOL_E2E_REDIS"

// The topologies.
const (
	mini     = "mini"     // miniredis, workers in this process
	single   = "real"     // one redis-server
	cluster  = "cluster"  // a Cluster of 3 masters
	sentinel = "sentinel" // a master and a replica that a Sentinel watches
)

// topologies are those of this run: by default mini and single.
func topologies(t testing.TB) []string {
	t.Helper()
	names := os.Getenv(envRedis)
	if names == "" {
		return []string{mini, single}
	}
	list := strings.Split(names, ",")
	for _, name := range list {
		if !slices.Contains([]string{mini, single, cluster, sentinel}, name) {
			t.Fatalf("%s is %q: there is no topology %q; name some of %s, %s, %s, %s", envRedis, names, name, mini, single, cluster, sentinel)
		}
	}
	return list
}

// usual skips a test that does not depend on the topology when the run is not about
// the usual ones, which have run it.
func usual(t *testing.T) {
	t.Helper()
	if !slices.Contains(topologies(t), single) {
		t.Skipf("a run on %s only: this test has its own Redis", os.Getenv(envRedis))
	}
}

// envLong turns on the tests that take a minute or more.
const envLong = "DISTPOOL_E2E_LONG"

func long(t testing.TB) {
	t.Helper()
	if os.Getenv(envLong) != "1" {
		t.Skipf("it takes a minute or more; set %s=1 to run it (make test-topologies does)", envLong)
	}
}

// healthy is for a Sentinel whose master nobody harms: a busy machine must not make it
// fail over, which may lose jobs.
var healthy = redistest.DownAfter(time.Minute)

// shared are the Redises that cases share, each case with a queue of its own.
var shared sharedServers

type sharedServers struct {
	mu   sync.Mutex // guards all below
	dir  string
	urls map[string]string // topology -> URL
	kill []func() error
}

// start returns the URL of the shared Redis of that topology.
func (s *sharedServers) start(t testing.TB, topology string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if url, ok := s.urls[topology]; ok {
		return url
	}
	if _, err := redistest.Find(); err != nil {
		redistest.Start(t) // skips or fails, as the environment wants it
	}
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "distpool-e2e-")
		if err != nil {
			t.Fatal(err)
		}
		s.dir, s.urls = dir, map[string]string{}
	}
	dir := filepath.Join(s.dir, topology)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var running interface {
		URL() string
		Kill() error
	}
	var err error
	switch topology {
	case cluster:
		running, err = redistest.StartClusterProcess(dir, 3, 0)
	case sentinel:
		running, err = redistest.StartFailoverProcess(dir, healthy)
	default:
		running, err = redistest.StartProcess(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.urls[topology] = running.URL()
	s.kill = append(s.kill, running.Kill)
	return s.urls[topology]
}

// stop ends what start has started.
func (s *sharedServers) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	var errs []error
	for _, kill := range s.kill {
		errs = append(errs, kill())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
