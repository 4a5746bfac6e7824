package inspect_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleettest"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// The same as in package fleettest.
var (
	onBoth     = fleettest.OnBoth
	eventually = fleettest.Eventually
)

// onCluster runs f on a real Cluster.
func onCluster(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("cluster", func(t *testing.T) {
		rdb, err := redisconn.Open(t.Context(), redistest.ClusterURL(redistest.StartCluster(t, 3)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rdb.Close() })
		f(t, rdb)
	})
}

// create makes a job with chunks of n calls each, and lists it.
func create(t *testing.T, rdb redis.UniversalClient, j record.Job, n int) {
	t.Helper()
	j.Codec, j.OpenTTL, j.ResultTTL = "json", time.Hour, time.Hour
	j.Calls = n * j.Chunks
	var cs []record.Chunk
	for k := range j.Chunks {
		args := []byte("[")
		for i := range n {
			if i > 0 {
				args = append(args, ',')
			}
			args = fmt.Appendf(args, `{"call":%d}`, k*n+i)
		}
		cs = append(cs, record.Chunk{Number: k, Args: wire.EncodeArgs(k*n, n, append(args, ']'))})
	}
	if err := record.Create(j, cs).Run(t.Context(), rdb).Err(); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, rdb redis.UniversalClient, shard int, jobs ...record.Listed) {
	t.Helper()
	b := &record.Batch{}
	for _, j := range jobs {
		b.Add(j)
	}
	if err := record.List(t.Context(), rdb, shard, b); err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T, rdb redis.UniversalClient, id string, chunk int, by, from string) {
	t.Helper()
	b, err := record.Begin(t.Context(), rdb, record.Ref{ID: id}, chunk, by, from, 3)
	if err != nil || b.Verdict != record.Run {
		t.Fatalf("begin answers %+v, %v", b, err)
	}
}

// rec records a chunk of n calls, of which the given ones failed.
func rec(t *testing.T, rdb redis.UniversalClient, id string, chunk, n int, slow time.Duration, failed ...int) {
	t.Helper()
	o := wire.Outcome{First: chunk * n, Calls: n, Values: []byte("[1]")}
	for _, i := range failed {
		o.Errors = append(o.Errors, wire.CallError{Call: i, Kind: wire.KindPanic, Message: fmt.Sprintf("call %d of chunk %d", i, chunk), Stack: "goroutine 1", Attempts: 1, Worker: "w"})
	}
	recording := record.Recording{Outcome: o.Encode(), Calls: n, Failed: len(failed), Inline: 100, Slow: record.SlowCall{Call: chunk * n, Took: slow, Worker: "w"}}
	r, err := recording.Run(t.Context(), rdb, record.Ref{ID: id}, chunk)
	if err != nil || r != record.OK {
		t.Fatalf("record answers %q, %v", r, err)
	}
}

// system is a pool and a worker in this process.
type system struct {
	pool *producer.Pool
	rdb  redis.UniversalClient
}

var fail = tasks.Define("fail", func(_ context.Context, n int) (int, error) {
	if n%2 == 1 {
		return 0, fmt.Errorf("%d is odd", n)
	}
	time.Sleep(3 * time.Millisecond) // so slow that it is remembered
	return n, nil
})

var hold = tasks.Define("hold", func(ctx context.Context, _ int) (int, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
})

func start(t *testing.T, rdb redis.UniversalClient) system {
	t.Helper()
	return system{pool: fleettest.Start(t, rdb, fail, hold), rdb: rdb}
}

func jobs(t *testing.T, in *inspect.Inspector, q inspect.Query) inspect.Page {
	t.Helper()
	p, err := in.Jobs(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ids(p inspect.Page) []string {
	var ids []string
	for _, j := range p.Jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

func redistestClient(t *testing.T) redis.UniversalClient {
	t.Helper()
	return redistest.Start(t).Client(t)
}
