package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/producer"
)

// asynq's leases are the one thing that workers date by their own clocks. To a
// worker whose clock is right, those of one that is an hour behind are long over:
// it must leave the deliveries to it while their calls run.
func TestAWorkerWhoseClockIsAnHourBehindRunsItsCallsOnce(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p, gate := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		must(t, err)
		e.awaitStarted(t, gate, 1)
		lane := e.lane(t, r.ID())
		stop, late := make(chan struct{}), make(chan struct{})
		go func() { // the worker renews its lease
			defer close(late)
			for {
				lease := redis.Z{Score: float64(time.Now().Add(-time.Hour).Unix()), Member: taskID(r.ID(), 0, 1)}
				_ = e.rdb.ZAddXX(context.Background(), asynqfmt.LeaseKey(lane), lease).Err()
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		// Supervision has looked at all deliveries once it has found these.
		m, single := e.abandoned(t)
		for _, id := range []string{m, single} {
			must(t, e.inspector().ArchiveTask(e.lane(t, id), taskID(id, 0, 1)))
		}
		e.worker(t, 1)
		e.areDone(t, foundWithin, m, single)
		close(stop)
		<-late
		e.open(t, gate)
		_, err = r.Get(ctx(t))
		must(t, err)
		eventually(t, "the delivery has ended", func() bool { return e.rdb.Exists(ctx(t), asynqfmt.TaskKey(lane, taskID(r.ID(), 0, 1))).Val() == 0 })
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 1 {
			t.Errorf("the call was started %d times, want once", n)
		}
	})
}
