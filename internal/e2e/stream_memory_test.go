package e2e_test

import (
	"context"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/distpool/distpool/internal/recent"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

// It has the process for itself: neither goroutines nor memory of other cases
// may come in between.
func TestAnInfiniteStreamRunsInConstantMemory(t *testing.T) {
	usual(t)
	const (
		n         = 1_000_000
		heapLimit = 64 << 20
		growth    = 32 << 20
	)
	e := newEnv(t, redistest.Start(t).URL(), true)
	e.worker(t, 4)
	p := e.pool(t)
	v, err := producer.Apply(ctx(t), p, square, 3) // everything is up and loaded
	same(t, "a call", v, err, 9)
	before := goleak.IgnoreCurrent()
	used := func() int { return usedMemory(t, e.rdb) }
	base, most, mostHeap := used(), 0, uint64(0)
	keys := e.keys(t, "*")
	runtime.GC() //revive:disable-line:call-to-gc what other cases have left is not this one's

	taken := 0
	for v, err := range producer.IMapUnordered(context.Background(), p, square, upTo(math.MaxInt, nil)) {
		if err != nil {
			t.Fatal(err)
		}
		if i := int(math.Sqrt(float64(v))); i*i != v {
			t.Fatalf("%d is not a square", v)
		}
		if taken++; taken%20_000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			mostHeap = max(mostHeap, m.HeapAlloc)
			most = max(most, used())
		}
		if taken == n {
			break
		}
	}
	t.Logf("heap %d KiB, Redis grew by %d KiB", mostHeap>>10, (most-base)>>10)
	if mostHeap > heapLimit {
		t.Errorf("the heap grew to %d bytes, more than %d", mostHeap, heapLimit)
	}
	if most-base > growth {
		t.Errorf("Redis grew by %d bytes, more than %d", most-base, growth)
	}
	goleak.VerifyNone(t, before)
	// Deliveries of the chunks that were on their way are still with asynq, and go
	// when a worker has looked at them.
	var left []string
	defer func() {
		if t.Failed() {
			t.Logf("left: %v, %d bytes more than before", left, used()-base)
		}
	}()
	eventually(t, "Redis is back where it was", func() bool {
		left = slices.DeleteFunc(e.keys(t, "*"), func(key string) bool {
			return slices.Contains(keys, key) || strings.HasPrefix(key, "distpool:@{workers}") || recent.IsListKey(key) ||
				strings.HasPrefix(key, "asynq:servers") || strings.HasPrefix(key, "asynq:workers") || // of the worker that runs
				strings.Contains(key, ":processed") // asynq's counters, which may come a moment after the first result
		})
		return len(left) == 0 && used()-base < 1<<20
	})
}

// liveHeap streams n calls and returns the most that the heap held, not counting garbage,
// in the last third of the stream.
func liveHeap(t *testing.T, p *producer.Pool, n int) (most uint64) {
	t.Helper()
	const window, chunk, looks = 500, 5, 30
	taken := 0
	for v, err := range producer.IMapUnordered(ctx(t), p, square, upTo(n, nil), producer.Window(window), producer.ChunkSize(chunk)) {
		if err != nil {
			t.Fatal(err)
		}
		if i := int(math.Sqrt(float64(v))); i*i != v || i >= n {
			t.Fatalf("%d is not the square of an input", v)
		}
		if taken++; taken > n-n/3 && taken%(n/3/looks) == 0 {
			var m runtime.MemStats
			runtime.GC() //revive:disable-line:call-to-gc what is to be known is what it leaves
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if taken != n {
		t.Fatalf("%d of %d calls came", taken, n)
	}
	return most
}

// The window is so small that both streams fill it many times: what is more in the
// longer one is kept for each call or chunk of it. It has the process for itself.
func TestTheHeapOfAStreamDoesNotGrowWithItsLength(t *testing.T) {
	usual(t)
	const (
		n = 40_000
		// Less than eight bytes for each chunk that the longer stream has more, and than
		// two for each call. What the heap holds otherwise varies by a tenth of it.
		growth = 512 << 10
	)
	e := newEnv(t, redistest.Start(t).URL(), true)
	e.worker(t, 4)
	p := e.pool(t)
	liveHeap(t, p, n) // everything is up, and has the buffers that it wants
	short := liveHeap(t, p, n)
	long := liveHeap(t, p, 10*n)
	t.Logf("the heap held %d KiB in a stream of %d calls, %d KiB in one of %d", short>>10, n, long>>10, 10*n)
	if long > short+growth {
		t.Errorf("the heap held %d bytes in a stream of %d calls, and %d in one of %d", short, n, long, 10*n)
	}
}

func usedMemory(t *testing.T, rdb redis.UniversalClient) int {
	t.Helper()
	info := rdb.Info(ctx(t), "memory").Val()
	_, rest, _ := strings.Cut(info, "used_memory:")
	line, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("no used_memory in %q", info)
	}
	return n
}
