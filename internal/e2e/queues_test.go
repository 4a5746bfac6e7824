package e2e_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
)

// servedInOrder runs n calls from each of two queues, all there before the only
// slot is, and returns the queues in the order in which they were served.
func servedInOrder(t *testing.T, e *env, n int, strict bool) (first, second string, order []string) {
	t.Helper()
	p, mark := e.pool(t), e.probe()
	first, second = e.queue, e.queue+"-low"
	for _, q := range []string{second, first} {
		if _, err := producer.MapAsync(ctx(t), p, note, slices.Repeat([]probe{mark}, n), producer.ChunkSize(1), producer.Queue(q)); err != nil {
			t.Fatal(err)
		}
	}
	e.worker(t, 1, func(s *workerSpec) { s.Also, s.Strict = second, strict })
	eventually(t, "all calls have run", func() bool { return e.rdb.LLen(ctx(t), mark.Key).Val() == int64(2*n) })
	return first, second, e.rdb.LRange(ctx(t), mark.Key, 0, -1).Val()
}

func TestStrictPriorityServesTheHigherQueueFirst(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		const n = 15
		high, low, order := servedInOrder(t, e, n, true)
		want := append(slices.Repeat([]string{high}, n), slices.Repeat([]string{low}, n)...)
		if !slices.Equal(order, want) {
			t.Errorf("served in the order %q, want all of %q first", order, high)
		}
	})
}

func TestQueuesOfOneWeightAreServedSideBySide(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		// asynq draws which queue it asks first. That 30 draws favor one of them more
		// than 27 times happens once in 100,000 runs.
		const n = 30
		a, _, order := servedInOrder(t, e, n, false)
		of := 0
		for _, q := range order[:n] {
			if q == a {
				of++
			}
		}
		if of < 3 || of > n-3 {
			t.Errorf("of the first %d calls, %d came from one of two queues", n, of)
		}
	})
}

// The ring of a queue may wake a worker that then takes from another queue of its own, and
// has no slot left. An idle worker that serves only the one must not sleep on.
func TestAWorkerThatIsWokenForOneQueueAndServesAnotherLetsOthersKnow(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		high, low := e.queue, e.queue+"-low"
		one := *e
		one.queue = low
		one.worker(t, 1)
		e.worker(t, 1, func(s *workerSpec) { s.Also, s.Strict = low, true })
		p := e.pool(t)
		const rounds, long = 30, 500
		var late []time.Duration
		for range rounds {
			var both sync.WaitGroup
			both.Go(func() {
				n, err := producer.Apply(ctx(t), p, sleep, long, producer.Queue(high))
				same(t, "the call that one worker takes", n, err, long)
			})
			both.Go(func() {
				began := time.Now()
				n, err := producer.Apply(ctx(t), p, square, 3, producer.Queue(low))
				same(t, "the call for which it was woken, perhaps", n, err, 9)
				if took := time.Since(began); took >= (long-100)*time.Millisecond {
					late = append(late, took)
				}
			})
			both.Wait()
			// Redis calls the one that has listened for the longest: not the worker of one queue.
			_, err := producer.Apply(ctx(t), p, square, 3, producer.Queue(low))
			must(t, err)
			time.Sleep(20 * time.Millisecond)
		}
		if len(late) > rounds/6 { // a busy machine; it was a third
			t.Errorf("of %d calls for an idle worker these waited for another one: %v", rounds, late)
		}
	})
}
