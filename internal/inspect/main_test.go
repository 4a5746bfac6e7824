package inspect_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/fleettest"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/recent"
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

// place is where the job of an address is, with its delivery of a chunk.
func place(t *testing.T, rdb redis.UniversalClient, id string, chunk, number int) (lane string, d job.Delivery) {
	t.Helper()
	a := names.SplitAddress(id)
	lane, err := lanes.NewRouter(rdb).Find(t.Context(), a.Queue, a.Name)
	if err != nil {
		t.Fatal(err)
	}
	return lane, job.Delivery{Ref: job.Ref{Name: a.Name}, Chunk: chunk, Number: number}
}

// testJob is a job of a test.
type testJob struct {
	ID, Task string
	Chunks   int
	Start    time.Time
}

// create makes a job with chunks of n calls each.
func create(t *testing.T, rdb redis.UniversalClient, j testJob, n int) {
	t.Helper()
	frames := make([][]byte, j.Chunks)
	for k := range frames {
		args := []byte("[")
		for i := range n {
			if i > 0 {
				args = append(args, ',')
			}
			args = fmt.Appendf(args, `{"call":%d}`, k*n+i)
		}
		frames[k] = wire.EncodeArgs(k*n, n, append(args, ']'))
	}
	createOf(t, rdb, j, n, frames)
}

// createOf makes a job with these framed arguments.
func createOf(t *testing.T, rdb redis.UniversalClient, j testJob, n int, frames [][]byte) {
	t.Helper()
	about := job.About{Task: j.Task, Codec: "json"}
	if !j.Start.IsZero() {
		about.Start = j.Start.UnixMilli()
	}
	text, err := about.Encode()
	if err != nil {
		t.Fatal(err)
	}
	lane, d := place(t, rdb, j.ID, 0, 1)
	var cs []job.Chunk
	for k, frame := range frames {
		d.Chunk = k
		stored, err := job.Store(t.Context(), rdb, lane, d.Name, frame)
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, job.Chunk{Number: k, Args: stored, TaskID: d.TaskID(), Message: job.Message(lane, j.Task, d, "", time.Time{}), Due: j.Start})
	}
	states, err := job.Submit(t.Context(), rdb, lane, []job.Submission{job.New(job.Job{
		Ref: d.Ref, About: text, Pool: "pool", Calls: n * j.Chunks, Chunks: j.Chunks, Life: time.Hour, TTL: time.Hour,
	}, cs)})
	if err != nil || states[0] != job.Sealed {
		t.Fatalf("submit answers %q, %v", states, err)
	}
}

func list(t *testing.T, rdb redis.UniversalClient, shard int, jobs ...recent.Listed) {
	t.Helper()
	b := &recent.Batch{}
	for _, j := range jobs {
		b.Add(j)
	}
	if err := recent.List(t.Context(), rdb, shard, b); err != nil {
		t.Fatal(err)
	}
}

// begin has a worker take a chunk, which waits as the delivery of this number.
func begin(t *testing.T, rdb redis.UniversalClient, id string, chunk, number int, by string) {
	t.Helper()
	lane, d := place(t, rdb, id, chunk, number)
	if n := rdb.LRem(t.Context(), asynqfmt.PendingKey(lane), 1, d.TaskID()).Val(); n != 1 {
		t.Fatalf("%s does not wait", d.TaskID())
	}
	rdb.LPush(t.Context(), asynqfmt.ActiveKey(lane), d.TaskID())
	taken, err := job.Take(t.Context(), rdb, lane, job.Taking{Worker: by, Moved: []string{d.TaskID()}, Room: 1 << 20, Now: time.Now()})
	if err != nil || len(taken) != 1 || taken[0].Verdict != job.Run {
		t.Fatalf("take answers %+v, %v", taken, err)
	}
}

// die has the worker of a chunk die in it, which then waits as its second delivery.
func die(t *testing.T, rdb redis.UniversalClient, id string, chunk int, worker string) {
	t.Helper()
	lane, d := place(t, rdb, id, chunk, 2)
	old := job.Delivery{Ref: d.Ref, Chunk: chunk, Number: 1}
	states, err := job.ReissueAll(t.Context(), rdb, lane, job.Reissue{Delivery: d, Owner: worker, Died: true, Old: old.TaskID(), Task: "t"})
	if err != nil || states[0] != job.Reissued {
		t.Fatalf("reissue answers %q, %v", states, err)
	}
}

// rec records a chunk of n calls, of which the given ones failed.
func rec(t *testing.T, rdb redis.UniversalClient, id string, chunk, n int, slow time.Duration, failed ...int) {
	t.Helper()
	o := wire.Outcome{First: chunk * n, Calls: n, Values: []byte("[1]")}
	for _, i := range failed {
		o.Errors = append(o.Errors, wire.CallError{Call: i, Kind: wire.KindPanic, Message: fmt.Sprintf("call %d of chunk %d", i, chunk), Stack: "goroutine 1", Attempts: 1, Worker: "w"})
	}
	recOf(t, rdb, id, chunk, o, slow)
}

func recOf(t *testing.T, rdb redis.UniversalClient, id string, chunk int, o wire.Outcome, slow time.Duration) {
	t.Helper()
	lane, d := place(t, rdb, id, chunk, 1)
	frame, err := job.Store(t.Context(), rdb, lane, d.Name, o.Encode())
	if err != nil {
		t.Fatal(err)
	}
	out := job.Outcomes{Frame: frame, Calls: o.Calls, Failed: len(o.Errors), SlowCall: o.First, SlowTook: slow}
	if out.Failed > 0 {
		out.Message = job.Message(lane, "t", d, "no", time.Now())
	}
	entry := job.Record(d, out)
	answers, err := job.Finish(t.Context(), rdb, lane, job.Finishing{Worker: "w", Inline: 100, Now: time.Now()}, []job.Finished{entry})
	if err != nil || answers[0] != job.OK {
		t.Fatalf("finish answers %q, %v", answers, err)
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
