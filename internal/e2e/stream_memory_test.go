package e2e_test

import (
	"context"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
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
			return slices.Contains(keys, key) || strings.HasPrefix(key, "distpool:{workers}") || record.IsListKey(key) ||
				strings.Contains(key, ":processed") // asynq's counters, which may come a moment after the first result
		})
		return len(left) == 0 && used()-base < 1<<20
	})
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
