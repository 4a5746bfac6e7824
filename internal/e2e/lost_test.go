package e2e_test

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/producer"
)

func TestDeliveriesThatAnOperatorDeletedOrArchivedAreIssuedAgain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, square, []int{1, 2, 3}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		single, err := producer.ApplyAsync(ctx(t), p, square, 4)
		if err != nil {
			t.Fatal(err)
		}
		inspector := asynq.NewInspectorFromRedisClient(e.rdb)
		for _, err := range []error{
			inspector.DeleteTask(e.queue, m.ID()+":0:1"),
			inspector.ArchiveTask(e.queue, m.ID()+":1:1"),
			inspector.ArchiveTask(e.queue, single.ID()+":0:1"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		lost := time.Now()
		e.worker(t, 2)
		vs, err := m.Get(ctx(t))
		same(t, "the squares", vs, err, []int{1, 4, 9})
		v, err := single.Get(ctx(t))
		same(t, "the square", v, err, 16)
		if took := time.Since(lost); took > 30*time.Second {
			t.Errorf("the lost deliveries were found after %v, want 30s at the most", took)
		}
	})
}
