package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
)

func squares(n int) []int {
	s := numbers(n)
	for i, v := range s {
		s[i] = v * v
	}
	return s
}

func TestMapSendsOneDeliveryPerChunkAndKeepsOrderOnAnyFleet(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		for _, workers := range []int{1, 2} {
			for _, slots := range []int{1, 2, 4, 12} {
				t.Run(fmt.Sprintf("%d workers of %d slots", workers, slots), func(t *testing.T) {
					e := newEnv(t, e.url, e.real) // a queue of its own
					m, err := producer.MapAsync(ctx(t), e.pool(t), square, numbers(1000), producer.ChunkSize(20))
					if err != nil {
						t.Fatal(err)
					}
					if n := e.queueInfo(t).Size; n != 50 {
						t.Errorf("the map made %d deliveries, want 50", n)
					}
					for range workers {
						e.launch(t, slots)
					}
					got, err := m.Get(ctx(t))
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got, squares(1000)) {
						t.Errorf("wrong squares, or not in order: %v", got)
					}
					eventually(t, "every worker is registered", func() bool { return len(e.workers(t)) == workers })
					eventually(t, "asynq has processed 50 deliveries and holds none", func() bool {
						q := e.queueInfo(t)
						return q.Size == 0 && q.Processed == 50 && q.Failed == 0
					})
				})
			}
		}
	})
}

func TestEveryCallRunsOnce(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 4)
		e.worker(t, 4)
		p, runs := e.pool(t), e.probe()
		results := make([]int64, 0, 100)
		for range 50 {
			n, err := producer.Apply(ctx(t), p, count, runs)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, n)
		}
		more, err := producer.Map(ctx(t), p, count, slices.Repeat([]probe{runs}, 50), producer.ChunkSize(7))
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, more...)
		slices.Sort(results)
		for i, n := range results {
			if n != int64(i+1) {
				t.Fatalf("the counts are %v, want each of 1 to 100 once", results)
			}
		}
		if n := e.rdb.Get(ctx(t), runs.Key).Val(); n != "100" {
			t.Errorf("the calls ran %s times, want 100", n)
		}
	})
}

func TestConcurrencyIsFixed(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		slots := []int{3}
		if e.real {
			slots = []int{2, 1}
		}
		for _, n := range slots {
			e.worker(t, n)
		}
		gate := e.probe()
		m, err := producer.MapAsync(ctx(t), e.pool(t), hold, slices.Repeat([]probe{gate}, 40), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 3) // all slots work
		// The calls hold their slots. Whatever would start one more now has time to.
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 3 {
				t.Fatalf("%d calls have started while 3 slots are held", n)
			}
		}
		e.open(t, gate)
		if _, err := m.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		seen := e.rdb.LRange(ctx(t), gate.Key+":started", 0, -1).Val()
		if len(seen) != 40 {
			t.Errorf("%d calls started, want 40", len(seen))
		}
		if most := slices.Max(seen); len(most) > 1 || most > "3" {
			t.Errorf("%s calls ran at once on 3 slots (%s)", most, strings.Join(seen, " "))
		}
	})
}

func TestAutomaticChunksFollowTheFleetsSlots(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		e.worker(t, 3)
		e.worker(t, 5)
		gate := e.probe()
		// ceil(81 / (4 * 10)) = 3 calls a chunk, so 27 chunks.
		m, err := producer.MapAsync(ctx(t), e.pool(t), hold, slices.Repeat([]probe{gate}, 81))
		if err != nil {
			t.Fatal(err)
		}
		if n := e.queueInfo(t).Size; n != 27 {
			t.Errorf("81 calls on 10 slots made %d deliveries, want 27", n)
		}
		e.open(t, gate)
		if _, err := m.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
	})
}
