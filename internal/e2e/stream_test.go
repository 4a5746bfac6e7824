package e2e_test

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// upTo yields 0 to n-1, and counts what it has yielded in read if there is one.
func upTo(n int, read *atomic.Int64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if read != nil {
				read.Add(1)
			}
			if !yield(i) {
				return
			}
		}
	}
}

// noTrace fails t unless every key of a job goes. A worker that stores a large frame for a job that
// has just gone removes it a moment later. On a Redis that cases share,
// other cases have jobs, of other queues: these do not count.
func (e *env) noTrace(t *testing.T) {
	t.Helper()
	eventually(t, "every key of the job is gone", func() bool {
		if e.real {
			return len(e.keysOfLanes(t, job.Prefix)) == 0
		}
		return len(e.keys(t, "distpool:{*}*")) == 0
	})
}

func TestAStreamYieldsEveryCallExactlyOnce(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 3)
		p := e.pool(t)
		n := 200_000
		if !e.real {
			n = 30_000
		}
		next := 0
		for v, err := range producer.IMap(ctx(t), p, square, upTo(n, nil)) {
			if err != nil || v != next*next {
				t.Fatalf("call %d came as %d, %v", next, v, err)
			}
			next++
		}
		if next != n {
			t.Errorf("IMap yielded %d of %d", next, n)
		}
		seen := make([]bool, n)
		count := 0
		for v, err := range producer.IMapUnordered(ctx(t), p, square, upTo(n, nil)) {
			i := int(math.Sqrt(float64(v)))
			if err != nil || i*i != v || i >= n || seen[i] {
				t.Fatalf("IMapUnordered yielded %d, %v, or that twice", v, err)
			}
			seen[i] = true
			count++
		}
		if count != n {
			t.Errorf("IMapUnordered yielded %d of %d", count, n)
		}
		indexes := make([]bool, n)
		for i, o := range producer.IMapAsCompleted(ctx(t), p, square, upTo(n, nil)) {
			if i < 0 || i >= n || indexes[i] || o.Err != nil || o.Value != i*i {
				t.Fatalf("IMapAsCompleted yielded %+v for call %d, or that twice", o, i)
			}
			indexes[i] = true
		}
		if slices.Contains(indexes, false) {
			t.Errorf("IMapAsCompleted left calls out: %v", indexes)
		}
		for _, opts := range [][]producer.Option{
			{producer.ChunkSize(7)}, {producer.Window(1)}, {producer.Window(20), producer.ChunkSize(20)},
			{producer.Window(10), producer.ChunkSize(100)}, {producer.Window(50)},
		} {
			var got []int
			for v, err := range producer.IMap(ctx(t), p, square, upTo(100, nil), opts...) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, v)
			}
			if len(got) != 100 || got[99] != 99*99 || !slices.IsSorted(got) {
				t.Errorf("with options: %v", got)
			}
		}
		e.noTrace(t)
	})
}

func TestAnEmptyStreamEndsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, e *env) { // and needs no worker
		for v, err := range producer.IMap(ctx(t), e.pool(t), square, upTo(0, nil)) {
			t.Errorf("yielded %d, %v", v, err)
		}
		e.noTrace(t)
	})
}

func TestAStreamStartsWhenItIsRangedOverAndAnewEachTime(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		var read atomic.Int64
		s := producer.IMap(ctx(t), e.pool(t), square, upTo(5, &read))
		if read.Load() != 0 {
			t.Error("the input was read before the loop")
		}
		for range 2 {
			var got []int
			for v, err := range s {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, v)
			}
			if !slices.Equal(got, []int{0, 1, 4, 9, 16}) {
				t.Errorf("got %v", got)
			}
		}
	})
}

func TestAFailingCallOfAStreamIsAPairAndTheOthersCome(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		what := []string{actFine, actSentinel, actPanic, actFine, actGoexit, actError, actFine}
		for _, size := range []int{0, 1, 3, 7} {
			i := 0
			for v, err := range producer.IMap(ctx(t), p, act, slices.Values(what), producer.ChunkSize(size)) {
				var te *results.TaskError
				switch {
				case what[i] == actFine && (err != nil || v != actFine):
					t.Errorf("call %d: %q, %v", i, v, err)
				case what[i] != actFine && (v != "" || !errors.As(err, &te) || te.Call != i):
					t.Errorf("call %d, which fails: %q, %v", i, v, err)
				case what[i] == actSentinel && !errors.Is(err, errStock):
					t.Errorf("call %d: %v does not match the registered error", i, err)
				}
				i++
			}
			if i != len(what) {
				t.Errorf("%d pairs of %d", i, len(what))
			}
		}
	})
}

func TestAStreamReadsNoFurtherThanItsWindow(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 4)
		p := e.pool(t)
		for _, opts := range [][]producer.Option{{producer.Window(10)}, {producer.Window(12), producer.ChunkSize(5)}, {producer.Window(1)}, nil} {
			var read atomic.Int64
			window := int64(4 * 4 << 16) // the default, with the largest chunks
			if len(opts) > 0 {
				window = 12
			}
			taken := int64(0)
			for _, err := range producer.IMapUnordered(ctx(t), p, square, upTo(math.MaxInt, &read), opts...) {
				if err != nil {
					t.Fatal(err)
				}
				taken++
				if ahead := read.Load() - taken; ahead > window {
					t.Errorf("read %d ahead of the loop, with a window of %d", ahead, window)
				}
				if taken == 30 {
					// The loop stands still. So must the input, once the window is full.
					still := read.Load()
					eventually(t, "the input stands still", func() bool {
						before := still
						time.Sleep(20 * time.Millisecond)
						still = read.Load()
						return still == before
					})
					if ahead := still - taken; ahead > window {
						t.Errorf("read %d ahead of a loop that stands, with a window of %d", ahead, window)
					}
				}
				if taken == 60 {
					break
				}
			}
		}
		e.noTrace(t)
	})
}

func TestResultsComeWhileTheInputBlocks(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		args := make(chan int, 1)
		input := func(yield func(int) bool) {
			for a := range args {
				if !yield(a) {
					return
				}
			}
		}
		args <- 0 // each argument is given only once the result of the last has come
		n := 0
		for v, err := range producer.IMap(ctx(t), e.pool(t), square, input) {
			if err != nil || v != n*n {
				t.Fatal(v, err)
			}
			if n++; n == 20 {
				close(args)
				continue
			}
			if n < 20 {
				args <- n
			}
		}
		if n != 20 {
			t.Errorf("%d results", n)
		}
	})
}

func TestAStreamOutlivesTheTimeToLiveOfJobs(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t, func(c *producer.Config) { c.JobTTL = time.Second })
		begin := time.Now()
		n := 0
		for _, err := range producer.IMap(ctx(t), p, sleep, slices.Values([]int{1, 1800, 1})) {
			if err != nil {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
			n++
		}
		if n != 3 {
			t.Errorf("%d values", n)
		}
	})
}

func TestStreamOptionsAreChecked(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		err := lastError(producer.IMap(ctx(t), e.pool(t), square, upTo(3, nil), producer.Window(-1)))
		mentions(t, err, fmt.Sprintf("Window(%d)", -1))
	})
}
