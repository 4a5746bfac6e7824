package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

// patience bounds every wait for something that must happen. It is long: a busy
// machine must not fail a test, only a broken promise.
const patience = 3 * time.Minute

// env is the Redis that a case runs on, and a queue that nobody else uses.
type env struct {
	url   string
	queue string
	rdb   redis.UniversalClient
	real  bool // redis-servers with worker processes; else miniredis with workers in this process
	log   *logBuffer
}

var queues atomic.Int64

// each runs the case on every topology of the run, on a Redis that cases share.
func each(t *testing.T, f func(t *testing.T, e *env)) {
	t.Helper()
	t.Parallel()
	for _, topology := range topologies(t) {
		t.Run(topology, func(t *testing.T) {
			t.Parallel()
			if topology == mini {
				f(t, newEnv(t, redisURLOfMini(t), false))
				return
			}
			f(t, newEnv(t, shared.start(t, topology), true))
		})
	}
}

// eachReal is each without miniredis.
func eachReal(t *testing.T, f func(t *testing.T, e *env)) {
	t.Helper()
	t.Parallel()
	for _, topology := range topologies(t) {
		if topology != mini {
			t.Run(topology, func(t *testing.T) {
				t.Parallel()
				f(t, newEnv(t, shared.start(t, topology), true))
			})
		}
	}
}

// eachAlone is each with a Redis of the case's own.
func eachAlone(t *testing.T, f func(t *testing.T, e *env)) {
	t.Helper()
	t.Parallel()
	for _, topology := range topologies(t) {
		t.Run(topology, func(t *testing.T) {
			t.Parallel()
			switch topology {
			case mini:
				f(t, newEnv(t, redisURLOfMini(t), false))
			case single:
				f(t, newEnv(t, redistest.Start(t).URL(), true))
			case cluster:
				f(t, newEnv(t, redistest.StartClusterSetup(t, 3, 0).URL(), true))
			case sentinel:
				f(t, newEnv(t, redistest.StartFailover(t, healthy).URL(), true))
			}
		})
	}
}

func redisURLOfMini(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() }

func newEnv(t *testing.T, url string, processes bool) *env {
	e := &env{url: url, queue: fmt.Sprintf("e2e-%d", queues.Add(1)), rdb: client(url), real: processes, log: &logBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pools and workers wrote:\n%s", e.log)
		}
	})
	return e
}

// pool opens a pool, which is terminated when t ends.
func (e *env) pool(t *testing.T, change ...func(*producer.Config)) *producer.Pool {
	t.Helper()
	cfg := producer.Config{Keyring: suiteKeyring, Redis: e.url, Queue: e.queue, Logger: slog.New(slog.NewTextHandler(e.log, nil))}
	for _, f := range change {
		f(&cfg)
	}
	begin := time.Now()
	p, err := producer.Open(ctx(t), cfg)
	// Open gives up after 5 s, which a server on a machine that stands still can take.
	for errors.Is(err, context.DeadlineExceeded) && time.Since(begin) < patience {
		t.Logf("opening a pool again: %v", err)
		p, err = producer.Open(ctx(t), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Terminate(ctx); err != nil {
			t.Errorf("Terminate at the end of the test: %v", err)
		}
	})
	return p
}

// probe makes a probe of its own.
func (e *env) probe() probe {
	return probe{URL: e.url, Key: fmt.Sprintf("probe:%s:%d", e.queue, queues.Add(1))}
}

// open lets the calls of hold go on.
func (e *env) open(t *testing.T, p probe) {
	t.Helper()
	if err := e.rdb.Set(ctx(t), p.Key+":open", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// awaitStarted waits until n calls of hold have started.
func (e *env) awaitStarted(t *testing.T, p probe, n int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d calls have started", n), func() bool {
		return e.rdb.LLen(ctx(t), p.Key+":started").Val() >= n
	})
}

func (e *env) inspector() *asynq.Inspector { return asynq.NewInspectorFromRedisClient(e.rdb) }

// queueInfo adds up asynq's view of the lanes of the case's queue.
func (e *env) queueInfo(t *testing.T) *asynq.QueueInfo {
	t.Helper()
	all, known := &asynq.QueueInfo{Queue: e.queue, Paused: true}, 0
	for _, lane := range e.lanes(t) {
		q, err := e.inspector().GetQueueInfo(lane)
		if errors.Is(err, asynq.ErrQueueNotFound) {
			continue // no worker serves it, and no job is in it
		}
		must(t, err)
		known++
		all.Size += q.Size
		all.Pending += q.Pending
		all.Active += q.Active
		all.Scheduled += q.Scheduled
		all.Retry += q.Retry
		all.Archived += q.Archived
		all.Processed += q.Processed
		all.Failed += q.Failed
		all.Latency = max(all.Latency, q.Latency)
		all.Paused = all.Paused && q.Paused
	}
	if known == 0 {
		t.Fatalf("asynq knows no lane of the queue %q", e.queue)
	}
	return all
}

// pauseLanes pauses the case's queue as asynq's own tools do, lane by lane.
func (e *env) pauseLanes(t *testing.T) {
	t.Helper()
	for _, lane := range e.lanes(t) {
		must(t, e.inspector().PauseQueue(lane))
	}
}

// workers lists the live workers of the case's queue.
func (e *env) workers(t *testing.T) []fleet.Worker {
	t.Helper()
	ws, err := fleet.Workers(ctx(t), e.rdb)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(ws, func(w fleet.Worker) bool { return !w.Serves(e.queue) })
}

// jobKeys lists the keys of a job.
func (e *env) jobKeys(t *testing.T, id string) []string {
	t.Helper()
	keys := e.blobsOf(t, id)
	if e.rdb.Exists(ctx(t), e.key(t, id)).Val() == 1 {
		keys = append(keys, e.key(t, id))
	}
	return keys
}

func (e *env) keys(t *testing.T, pattern string) []string {
	t.Helper()
	var keys []string
	var mu sync.Mutex // guards keys
	err := e.eachServer(t, func(ctx context.Context, c *redis.Client) error {
		scan := c.Scan(ctx, 0, pattern, 1000).Iterator()
		for scan.Next(ctx) {
			mu.Lock()
			keys = append(keys, scan.Val())
			mu.Unlock()
		}
		return scan.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// eachServer calls f with every server that takes writes: one, or a Cluster's
// masters, at the same time.
func (e *env) eachServer(t *testing.T, f func(context.Context, *redis.Client) error) error {
	t.Helper()
	if c, ok := e.rdb.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx(t), f)
	}
	return f(ctx(t), e.rdb.(*redis.Client))
}

// ctx is a context for one request or wait of a test.
func ctx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v in vain for %s", patience, what)
		panic("unreachable")
	}
}

// numbers returns 0 to n-1.
func numbers(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// severalTrips are arguments for size, so large that a map of them takes more
// than one round trip to submit.
func severalTrips() [][]byte { return slices.Repeat([][]byte{make([]byte, 1<<20)}, 5) }

// mentions fails t unless the error's text has all the parts in it.
func mentions(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that mentions %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error does not mention %q: %v", p, err)
		}
	}
}
