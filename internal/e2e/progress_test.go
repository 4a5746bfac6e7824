package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestProgressCountsRunningCalls(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p, other, gate := e.pool(t), e.pool(t), e.probe()
		one, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the single call is seen to run", func() bool { return one.Progress().Running == 1 })
		e.open(t, gate)
		if _, err := one.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if r := one.Progress(); r.Running != 0 || r.Done != 1 || r.Left != 0 || !r.Ended {
			t.Errorf("at the end of a single call: %+v", r)
		}

		first, second := e.probe(), e.probe()
		m, err := producer.MapAsync(ctx(t), p, hold, append(slices.Repeat([]probe{first}, 2), slices.Repeat([]probe{second}, 4)...), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "both slots are seen to be busy", func() bool { return m.Progress().Running == 2 })
		if r := m.Progress(); r.Calls != 6 || r.Done != 0 || r.Rate != 0 || r.Left >= 0 || r.NoWorker {
			t.Errorf("before the first call is over: %+v", r)
		}
		e.open(t, first)
		eventually(t, "two are over and two run", func() bool { r := m.Progress(); return r.Running == 2 && r.Done == 2 })
		if r := m.Progress(); r.Rate <= 0 || r.Left <= 0 {
			t.Errorf("with a third over: %+v", r)
		}
		attached, err := producer.AttachMap(ctx(t), other, hold, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		if r := attached.Progress(); r.Running != 2 || r.Done != 2 || r.Calls != 6 || r.Rate != 0 {
			t.Errorf("attached: %+v", r)
		}
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if r := m.Progress(); r.Running != 0 || r.NoWorker || !r.Ended || r.Left != 0 {
			t.Errorf("canceled: %+v", r)
		}
	})
}

func TestProgressSaysThatNoWorkerServesTheQueue(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, square, numbers(10), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		var last results.Progress
		var started bool
		asked := time.Now()
		longest := time.Duration(0)
		for r := range m.Watch(ctx(t)) { // nothing changes until there is a worker: Watch must yield all the same
			longest, asked = max(longest, time.Since(asked)), time.Now()
			last = r
			if r.NoWorker && !started {
				started = true
				e.worker(t, 2)
				asked = time.Now()
			}
		}
		if !started {
			t.Error("the job ended, and nobody said that there was no worker")
		}
		if last.NoWorker || last.Done != 10 || !last.Ended {
			t.Errorf("at the end: %+v", last)
		}
		if longest > 3*time.Second {
			t.Errorf("Watch yielded nothing for %v", longest)
		}
	})
}
