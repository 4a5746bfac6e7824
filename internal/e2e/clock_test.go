package e2e_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/producer"
)

// asynq's leases are the one thing that workers date by their own clocks. To a
// worker whose clock is right, those of one that is an hour behind are long over:
// it takes the deliveries back while their calls run.
func TestAWorkerWhoseClockIsAnHourBehindRunsItsCallsOnce(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p, gate := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		must(t, err)
		e.awaitStarted(t, gate, 1)
		id, lane := taskID(r.ID(), 0, 1), e.lane(t, r.ID())
		lease := redis.Z{Score: float64(time.Now().Add(-time.Hour).Unix()), Member: id}
		// asynq looks at leases when a worker starts. The one that runs the call may
		// have renewed its lease just before that: then there is another start.
		for taken := false; !taken; {
			must(t, e.rdb.ZAddXX(ctx(t), "asynq:{"+lane+"}:lease", lease).Err())
			w := e.worker(t, 1)
			for end := time.Now().Add(2 * time.Second); !taken && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				taken = e.rdb.HGet(ctx(t), "asynq:{"+lane+"}:t:"+id, "state").Val() == "retry"
			}
			if !taken {
				must(t, w.stop(t))
			}
		}
		e.open(t, gate)
		_, err = r.Get(ctx(t))
		must(t, err)
		eventually(t, "the delivery has ended", func() bool {
			return e.rdb.Exists(ctx(t), "asynq:{"+lane+"}:t:"+id).Val() == 0
		})
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 1 {
			t.Errorf("the call was started %d times, want once", n)
		}
	})
}
