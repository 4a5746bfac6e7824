package job

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/redistest"
)

// cluster is a Cluster of 3 for all tests of this package, started by the first.
var cluster struct {
	setup *redistest.Setup
	err   error
	once  sync.Once
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "job")
	if err != nil {
		panic(err)
	}
	clusterDir = dir
	m.Run()
	if cluster.setup != nil {
		_ = cluster.setup.Kill()
	}
	_ = os.RemoveAll(dir)
}

var clusterDir string

// onAll runs f on miniredis, on a redis-server, and on a Cluster of 3, each of them empty.
func onAll(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		// It is slow with large scripts, and what the client sends again is another test.
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), ReadTimeout: time.Minute})
		t.Cleanup(func() { rdb.Close() })
		f(t, rdb)
	})
	t.Run("redis", func(t *testing.T) { f(t, redistest.Start(t).Client(t)) })
	t.Run("cluster", func(t *testing.T) {
		cluster.once.Do(func() { cluster.setup, cluster.err = redistest.StartClusterProcess(clusterDir, 3, 0) })
		if cluster.err != nil {
			t.Fatal(cluster.err)
		}
		var addrs []string
		for _, s := range cluster.setup.Servers {
			addrs = append(addrs, s.Addr())
		}
		rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
		t.Cleanup(func() { rdb.Close() })
		if err := rdb.ForEachMaster(t.Context(), func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() }); err != nil {
			t.Fatal(err)
		}
		f(t, rdb)
	})
}

// keys are the keys of the test's lane, wherever that is.
func keys(t *testing.T, rdb redis.UniversalClient, pattern string) []string {
	t.Helper()
	var mu sync.Mutex
	var all []string
	find := func(ctx context.Context, c *redis.Client) error {
		some, err := c.Keys(ctx, pattern).Result()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, some...)
		return err
	}
	var err error
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(t.Context(), find)
	case *redis.Client:
		err = find(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const (
	lane   = "q"
	worker = "worker-1"
)

// asynqMessage is asynq's message of a delivery of a test.
func asynqMessage(lane, id string) []byte {
	m := asynqfmt.Message{Type: "square", Payload: []byte(`{"job":"j"}`), ID: id, Queue: lane, Retry: 10000}
	return m.Append(nil)
}

// newCall submits one call, the only one of its job.
func newCall(lane, name string) Submission {
	d := Delivery{Ref{Name: name}, 0, 1}
	return New(Job{Ref: d.Ref, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute},
		[]Chunk{{Number: 0, Args: []byte("0 1\n[7]"), TaskID: d.TaskID(), Message: asynqMessage(lane, d.TaskID())}})
}

// newMap submits a map of chunks of one call each, named after their arguments.
func newMap(lane, name string, chunks int, open bool) Submission {
	j := Job{Ref: Ref{Name: name}, About: "1 square", Pool: "pool", Calls: chunks, Chunks: chunks, Open: open, Life: time.Hour, TTL: time.Minute}
	return New(j, someChunks(lane, name, 0, chunks))
}

func someChunks(lane, name string, first, n int) []Chunk {
	cs := make([]Chunk, n)
	for i := range cs {
		d := Delivery{Ref{Name: name}, first + i, 1}
		cs[i] = Chunk{Number: d.Chunk, Args: []byte(d.TaskID()), TaskID: d.TaskID(), Message: asynqMessage(lane, d.TaskID())}
	}
	return cs
}

func submit(t *testing.T, rdb redis.UniversalClient, want State, entries ...Submission) {
	t.Helper()
	states, err := Submit(t.Context(), rdb, lane, entries)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range states {
		if s != want {
			t.Fatalf("submit answers %q to entry %d, want %q", s, i, want)
		}
	}
}

// take takes deliveries, and returns those of which something is to be done.
func take(t *testing.T, rdb redis.UniversalClient, most int) []Taken {
	t.Helper()
	taken, err := Take(t.Context(), rdb, lane, Taking{Worker: worker, Most: most, Room: 1 << 20, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(taken, func(one Taken) bool { return one.Verdict.IsOver() })
}

func finish(t *testing.T, rdb redis.UniversalClient, want Answer, entries ...Finished) {
	t.Helper()
	answers, err := Finish(t.Context(), rdb, lane, Finishing{Worker: worker, Inline: 8192, Now: time.Now()}, entries)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a != want {
			t.Fatalf("finish answers %q to entry %d, want %q", a, i, want)
		}
	}
}

func fields(t *testing.T, rdb redis.UniversalClient, name string) map[string]string {
	t.Helper()
	all, err := rdb.HGetAll(context.Background(), Key(lane, name)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}
