package e2e_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestCancelReachesRunningCallsAtOnceAndQueuedOnesNeverRun(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		e.worker(t, 2)
		p := e.pool(t)
		const rounds, slots, calls = 10, 4, 30
		var delays []time.Duration
		for range rounds {
			mark := e.probe()
			m, err := producer.MapAsync(ctx(t), p, linger, slices.Repeat([]probe{mark}, calls), producer.ChunkSize(1))
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "every slot is taken", func() bool {
				n, _ := e.rdb.Get(ctx(t), mark.Key+":started").Int()
				return n == slots
			})
			begin := time.Now()
			if err := m.Cancel(ctx(t)); err != nil {
				t.Fatal(err)
			}
			if !m.Ready() {
				t.Error("Cancel has returned and the handle is not ready")
			}
			if _, err := m.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
				t.Errorf("after Cancel: %v", err)
			}
			var ended []string
			eventually(t, "the running calls have ended", func() bool {
				ended = e.rdb.LRange(ctx(t), mark.Key+":ended", 0, -1).Val()
				return len(ended) >= slots
			})
			for _, s := range ended {
				at, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				delays = append(delays, time.UnixMicro(at).Sub(begin))
			}
			// What comes after them in the queue has run: they will not.
			v, err := producer.Map(ctx(t), p, square, numbers(slots), producer.ChunkSize(1))
			same(t, "the next map", v, err, []int{0, 1, 4, 9})
			if n, _ := e.rdb.Get(ctx(t), mark.Key+":started").Int(); n != slots {
				t.Errorf("%d calls were started, want the %d that ran when the job was canceled", n, slots)
			}
		}
		slices.Sort(delays)
		median, most := delays[len(delays)/2], delays[len(delays)-1]
		t.Logf("contexts ended %v after Cancel was called (median), %v at the most", median, most)
		limit := 100 * time.Millisecond
		if raceEnabled {
			limit = time.Second
		}
		if median > limit {
			t.Errorf("contexts of running calls ended %v after Cancel was called (median), want %v", median, limit)
		}
		eventually(t, "asynq's queue is empty", func() bool { return e.queueInfo(t).Size == 0 })
	})
}
