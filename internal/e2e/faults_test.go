package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
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

func (e *env) load(t *testing.T, goroutines int, change ...func(*producer.Config)) *load {
	t.Helper()
	l := &load{e: e, stop: make(chan struct{})}
	p := e.pool(t, change...)
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

// finish ends the load and checks its results. Jobs may have ended with one of the
// errors instead; finish returns how many did.
func (l *load) finish(t *testing.T, or ...error) (failed int) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, m := range l.accepted {
		vs, err := m.Get(ctx(t))
		if slices.ContainsFunc(or, func(target error) bool { return errors.Is(err, target) }) {
			failed++
			continue
		}
		same(t, "job "+m.ID(), vs, err, loadArgs)
	}
	t.Logf("%d maps were accepted and are right, %d were refused, %d ended with one of %v", len(l.accepted)-failed, l.refused, failed, or)
	return failed
}

// onItsOwn is a case with a redis-server that it may break, and two workers.
func onItsOwn(t *testing.T, f func(t *testing.T, e *env, s *redistest.Server), opts ...redistest.Option) {
	usual(t)
	withItsOwn(t, f, opts...)
}

// withItsOwn is onItsOwn in any run.
func withItsOwn(t *testing.T, f func(t *testing.T, e *env, s *redistest.Server), opts ...redistest.Option) {
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

// killAndRestart has a load live through five deaths of Redis.
func killAndRestart(t *testing.T, e *env, s *redistest.Server) *load {
	t.Helper()
	l := e.load(t, 4)
	for range 5 {
		l.more(t, 10)
		must(t, s.Kill())
		s.Restart(t)
	}
	l.more(t, 10)
	return l
}

func TestARedisThatIsKilledAndRestartedLosesNoAcceptedJob(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		killAndRestart(t, e, s).finish(t)
	}, redistest.Config("appendonly yes", "appendfsync always"))
}

// With everysec a machine that crashes may lose a second; the process alone loses
// nothing that it has answered. Either way nobody waits for ever.
func TestARedisThatSyncsEachSecondLosesNoJobWithoutAWord(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		killAndRestart(t, e, s).finish(t, results.ErrExpired)
	}, redistest.Config("appendonly yes", "appendfsync everysec"))
}

func TestARedisThatForgetsEverythingEndsEveryWait(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		l, p, gate := e.load(t, 4), e.pool(t), e.probe()
		l.more(t, 5)
		held, err := producer.MapAsync(ctx(t), p, hold, []probe{gate, gate, gate}, producer.ChunkSize(1))
		must(t, err)
		e.awaitStarted(t, gate, 1)
		must(t, s.Kill())
		s.Restart(t) // without what it had
		began := time.Now()
		if _, err := held.Get(ctx(t)); !errors.Is(err, results.ErrExpired) {
			t.Errorf("a job that was lost ended with %v, want ErrExpired", err)
		}
		if took := time.Since(began); took > foundWithin {
			t.Errorf("its handle said so after %v, want %v at the most", took, foundWithin)
		}
		if _, err := producer.AttachMap(ctx(t), p, hold, held.ID()); !errors.Is(err, results.ErrUnknownJob) {
			t.Errorf("attaching to it: %v, want ErrUnknownJob", err)
		}
		// The calls run on; let them.
		e.open(t, gate)
		l.more(t, 10)
		l.finish(t, results.ErrExpired)
	})
}

// cpu is the processor time that a process has used.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	// The fields after the name, which may have spaces: state is the first, user and
	// system time, in hundredths of a second, are the 12th and 13th.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	must(t, err)
	system, err := strconv.Atoi(fields[12])
	must(t, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// idles checks what processes use in the given time, with nothing to do.
func idles(t *testing.T, what string, d time.Duration, workers ...*testWorker) {
	t.Helper()
	before := make([]time.Duration, len(workers))
	for i, w := range workers {
		before[i] = cpu(t, w.pid)
	}
	began := time.Now()
	time.Sleep(d) // the fault itself
	for i, w := range workers {
		share := 100 * float64(cpu(t, w.pid)-before[i]) / float64(time.Since(began))
		t.Logf("%s: an idle worker used %.1f%% of a processor", what, share)
		if share >= 5 {
			t.Errorf("%s: an idle worker used %.1f%% of a processor, want less than 5%%", what, share)
		}
	}
}

func TestAnIdleWorkerIsQuietWhileRedisIsAway(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		w := e.worker(t, 8)
		must(t, s.Pause())
		idles(t, "while Redis stands still", 5*time.Second, w)
		must(t, s.Kill())
		idles(t, "while Redis is gone", 5*time.Second, w)
		s.Restart(t)
		v, err := producer.Apply(ctx(t), e.pool(t), square, 3)
		same(t, "a call after that", v, err, 9)
	})
}

// standStill has a load live through a Redis that answers nothing for a while.
func standStill(t *testing.T, d time.Duration) {
	withItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		idle := newEnv(t, e.url, true).worker(t, 8)
		l := e.load(t, 4)
		l.more(t, 5)
		must(t, s.Pause())
		if runtime.GOOS == "linux" {
			idles(t, "while Redis stands still", d, idle)
		} else {
			time.Sleep(d)
		}
		must(t, s.Resume())
		l.more(t, 10)
		l.finish(t)
	})
}

// Longer than a worker counts as alive.
func TestARedisThatStandsStillForSevenSecondsCostsOnlyTime(t *testing.T) {
	usual(t)
	standStill(t, 7*time.Second)
}

func TestARedisThatStandsStillForAMinuteCostsOnlyTime(t *testing.T) {
	long(t)
	standStill(t, time.Minute)
}

func TestClientsThatArePausedLoseNothing(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		l, admin := e.load(t, 4), s.Client(t)
		for _, kind := range []string{"WRITE", "ALL"} {
			l.more(t, 5)
			must(t, admin.Do(ctx(t), "CLIENT", "PAUSE", 3000, kind).Err())
		}
		l.more(t, 10)
		l.finish(t)
	})
}

func TestScriptsThatAreFlushedUnderLoadCostNothing(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		l, admin := e.load(t, 4), s.Client(t)
		for range 30 {
			l.more(t, 1)
			must(t, admin.ScriptFlush(ctx(t)).Err())
		}
		l.more(t, 10)
		l.finish(t)
	})
}

// A user of Redis who may not use channels: nobody hears of anything.
func TestChannelsThatAreForbiddenCostOnlyTime(t *testing.T) {
	onItsOwn(t, func(t *testing.T, e *env, s *redistest.Server) {
		l, admin, mark := e.load(t, 4), s.Client(t), e.probe()
		p := e.pool(t)
		l.more(t, 5)
		must(t, admin.Do(ctx(t), "ACL", "SETUSER", "default", "resetchannels").Err())
		must(t, admin.Do(ctx(t), "CLIENT", "KILL", "TYPE", "pubsub").Err())
		l.more(t, 10)
		began := time.Now()
		v, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "a call that nobody hears of", v, err, 9)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v: polling should have found it within seconds", took)
		}
		// The workers do not hear that a job was canceled.
		r, err := producer.ApplyAsync(ctx(t), p, linger, mark)
		must(t, err)
		eventually(t, "it has started", func() bool { return e.rdb.Exists(ctx(t), mark.Key+":started").Val() == 1 })
		must(t, r.Cancel(ctx(t)))
		eventually(t, "its context has ended", func() bool { return e.rdb.LLen(ctx(t), mark.Key+":ended").Val() == 1 })
		must(t, admin.Do(ctx(t), "ACL", "SETUSER", "default", "allchannels").Err())
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
	usual(t)
	t.Parallel()
	e := newEnv(t, redistest.Start(t).URL(), true)
	fleet := []*testWorker{e.worker(t, 2), e.worker(t, 2), e.worker(t, 2), e.worker(t, 2)}
	p := e.pool(t)
	submit := func() (*results.MapResult[int64], error) {
		marks := make([]probe, 100)
		for i := range marks {
			marks[i] = e.probe()
		}
		return producer.MapAsync(ctx(t), p, slowCount, marks, producer.ChunkSize(10))
	}
	var ms []*results.MapResult[int64]
	for i := range fleet { // every worker, in turn, with work for all of them
		for range 3 {
			m, err := submit()
			must(t, err)
			ms = append(ms, m)
		}
		m := ms[len(ms)-3]
		eventually(t, "the maps go on", func() bool { return m.Progress().Done > 0 })
		must(t, fleet[i].stop(t))
		fleet[i] = e.worker(t, 2)
	}
	for _, m := range ms {
		counts, err := m.Get(ctx(t))
		must(t, err)
		for i, n := range counts {
			if n != 1 {
				t.Errorf("call %d of job %s ran %d times", i, m.ID(), n)
			}
		}
	}
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
		_, err = producer.MapAsync(ctx(t), p, size, severalTrips())
		mentions(t, err, "OOM", "size")
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
