package e2e_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// load submits maps from several goroutines until stop is closed, and then checks
// that every one that was accepted ended with the right values. A submission may
// be refused while Redis is away: it was not accepted.
type load struct {
	e    *env
	stop chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex // guards all below
	accepted []*results.MapResult[int]
	refused  int
}

// loadArgs are what each map of the load sleeps, in milliseconds.
var loadArgs = []int{1, 20, 3, 40, 5, 2}

func (e *env) load(t *testing.T, goroutines int) *load {
	t.Helper()
	l := &load{e: e, stop: make(chan struct{})}
	p := e.pool(t)
	for range goroutines {
		l.wg.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				// Bounded, so that a Redis that does not answer does not hold the load up.
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				m, err := producer.MapAsync(ctx, p, sleep, loadArgs, producer.ChunkSize(2))
				cancel()
				l.mu.Lock()
				if err == nil {
					l.accepted = append(l.accepted, m)
				} else {
					l.refused++
				}
				l.mu.Unlock()
				if err == nil {
					_, _ = m.GetTimeout(time.Second) // some pace
				}
			}
		})
	}
	return l
}

// jobs is how many maps were accepted so far.
func (l *load) jobs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// more waits until n more maps are accepted.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	want := l.jobs() + n
	eventually(t, "more jobs are accepted", func() bool { return l.jobs() >= want })
}

// finish ends the load and checks its results.
func (l *load) finish(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, m := range l.accepted {
		vs, err := m.Get(ctx(t))
		same(t, "job "+m.ID(), vs, err, loadArgs)
	}
	t.Logf("%d maps were accepted and are right, %d were refused", len(l.accepted), l.refused)
}

// onItsOwn is a case with a redis-server that it may break, and two workers.
func onItsOwn(t *testing.T, f func(t *testing.T, e *env, s *redistest.Server), opts ...redistest.Option) {
	usual(t)
	t.Parallel()
	s := redistest.Start(t, opts...)
	e := newEnv(t, s.URL(), true)
	e.worker(t, 2)
	e.worker(t, 2)
	f(t, e, s)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestARedisThatIsKilledAndRestartedLosesNoAcceptedJob(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		l := e.load(t, 4)
		for range 3 {
			l.more(t, 10)
			must(t, s.Kill())
			s.Restart(t)
		}
		l.more(t, 10)
		l.finish(t)
	}, redistest.Config("appendonly yes", "appendfsync always"))
}

func TestARedisThatStopsForAWhileCostsOnlyTime(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		l := e.load(t, 4)
		l.more(t, 5)
		must(t, s.Pause())
		time.Sleep(7 * time.Second) // the fault itself: longer than a worker counts as alive
		must(t, s.Resume())
		l.more(t, 10)
		l.finish(t)
	})
}

func TestConnectionsThatAreCutCostOnlyTime(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		l := e.load(t, 4)
		admin := s.Client(t)
		for _, kind := range []string{"normal", "pubsub", "normal", "pubsub", "normal", "pubsub"} {
			l.more(t, 5)
			must(t, admin.Do(ctx(t), "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err())
		}
		l.more(t, 10)
		l.finish(t)
	})
}

func TestARollingRestartFailsNoCallAndRunsNoneTwice(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, _ *redistest.Server) {
		p := e.pool(t)
		marks := make([]probe, 300)
		for i := range marks {
			marks[i] = e.probe()
		}
		old := []*testWorker{e.worker(t, 2), e.worker(t, 2)}
		m, err := producer.MapAsync(ctx(t), p, slowCount, marks, producer.ChunkSize(10))
		must(t, err)
		for _, w := range old {
			done := m.Progress().Done
			eventually(t, "the map goes on", func() bool { return m.Progress().Done > done || m.Ready() })
			must(t, w.stop(t))
			e.worker(t, 2)
		}
		counts, err := m.Get(ctx(t))
		must(t, err)
		for i, n := range counts {
			if n != 1 {
				t.Errorf("call %d ran %d times", i, n)
			}
		}
	})
}

func TestARedisThatIsFullRefusesJobsAndEndsThoseItHas(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		p, gate := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		must(t, err)
		e.awaitStarted(t, gate, 1)
		admin := s.Client(t)
		must(t, admin.ConfigSet(ctx(t), "maxmemory", "1").Err())
		_, err = producer.ApplyAsync(ctx(t), p, square, 3)
		mentions(t, err, "OOM", "square")
		// The call ends, and its outcome has to wait for room.
		must(t, admin.ConfigSet(ctx(t), "maxmemory", "0").Err())
		e.open(t, gate)
		must(t, admin.ConfigSet(ctx(t), "maxmemory", "1").Err())
		eventually(t, "the recording is refused", func() bool {
			return strings.Contains(e.log.String(), "Redis does not answer; will keep trying") || r.Ready()
		})
		must(t, admin.ConfigSet(ctx(t), "maxmemory", "0").Err())
		if _, err := r.Get(ctx(t)); err != nil {
			t.Error(err)
		}
		v, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "a call once there is room", v, err, 9)
	}, redistest.Config("maxmemory-policy noeviction"))
}
