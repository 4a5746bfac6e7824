package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// foundWithin is how long a lost delivery may take to be found.
const foundWithin = 30 * time.Second

func TestDeliveriesThatAnOperatorDeletedOrArchivedAreIssuedAgain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, square, []int{1, 2, 3}, producer.ChunkSize(1))
		must(t, err)
		single, err := producer.ApplyAsync(ctx(t), p, square, 4)
		must(t, err)
		must(t, e.inspector().DeleteTask(e.lane(t, m.ID()), taskID(m.ID(), 0, 1)))
		must(t, e.inspector().ArchiveTask(e.lane(t, m.ID()), taskID(m.ID(), 1, 1)))
		must(t, e.inspector().ArchiveTask(e.lane(t, single.ID()), taskID(single.ID(), 0, 1)))
		lost := time.Now()
		e.worker(t, 2)
		vs, err := m.Get(ctx(t))
		same(t, "the squares", vs, err, []int{1, 4, 9})
		v, err := single.Get(ctx(t))
		same(t, "the square", v, err, 16)
		if took := time.Since(lost); took > foundWithin {
			t.Errorf("the lost deliveries were found after %v, want %v at the most", took, foundWithin)
		}
	})
}

// abandoned submits a map and a call, and lets go of them.
func (e *env) abandoned(t *testing.T) (m, single string) {
	t.Helper()
	p := e.pool(t)
	mr, err := producer.MapAsync(ctx(t), p, square, []int{1, 2, 3}, producer.ChunkSize(1))
	must(t, err)
	sr, err := producer.ApplyAsync(ctx(t), p, square, 4)
	must(t, err)
	p.Release()
	return mr.ID(), sr.ID()
}

// areDone checks that the record says so in time, without anybody waiting for it.
func (e *env) areDone(t *testing.T, within time.Duration, ids ...string) {
	t.Helper()
	began := time.Now()
	for _, id := range ids {
		eventually(t, "job "+id+" is done", func() bool {
			return e.field(t, id, "state") == string(job.Done)
		})
	}
	if took := time.Since(began); took > within {
		t.Errorf("it took %v, want %v at the most", took, within)
	}
}

func TestArchivedDeliveriesOfJobsThatNobodyWaitsForAreIssuedAgain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		m, single := e.abandoned(t)
		damaged, _ := e.abandoned(t)
		e.archive(t, m, 0, 2)
		e.archive(t, single, 0)
		e.archive(t, damaged, 1)
		// A record that cannot be read must not keep others from being looked after.
		must(t, wrongType().do(ctx(t), e, damaged))
		e.worker(t, 2)
		e.areDone(t, foundWithin, m, single)
	})
}

// As with asynqmon's button that archives all of a queue.
func TestAQueueThatIsArchivedAsAWholeIsIssuedAgain(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		args := make([]int, 1500) // more than a pass of the supervisor sees
		m, err := producer.MapAsync(ctx(t), p, square, args, producer.ChunkSize(1))
		must(t, err)
		p.Release() // nobody waits for it
		n, err := e.inspector().ArchiveAllPendingTasks(e.lane(t, m.ID()))
		if err != nil || n != len(args) {
			t.Fatalf("%d of %d deliveries were archived: %v", n, len(args), err)
		}
		e.worker(t, 4)
		e.areDone(t, foundWithin, m.ID())
	})
}

// On a Redis of its own: where cases share one, the leader of the supervision is a worker
// of any of them, and whoever follows it counts the seconds anew.
func TestDeliveriesThatWereTakenAndHaveNoLeaseAreIssuedAgain(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		m, single := e.abandoned(t)
		// What asynq never recovers: it looks for leases that are over, and these have
		// none.
		for of, id := range map[string]string{m: taskID(m, 1, 1), single: taskID(single, 0, 1)} {
			lane := e.lane(t, of)
			must(t, e.rdb.LRem(ctx(t), "asynq:{"+lane+"}:pending", 1, id).Err())
			must(t, e.rdb.LPush(ctx(t), "asynq:{"+lane+"}:active", id).Err())
			must(t, e.rdb.HSet(ctx(t), asynqfmt.TaskKey(lane, id), "state", "active").Err())
		}
		e.worker(t, 2)
		e.areDone(t, foundWithin, m, single)
	})
}

func TestADeletedDeliveryThatNobodyWaitsForIsIssuedAgainWhenSomebodyAttaches(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		m, single := e.abandoned(t)
		must(t, e.inspector().DeleteTask(e.lane(t, m), taskID(m, 1, 1)))
		must(t, e.inspector().DeleteTask(e.lane(t, single), taskID(single, 0, 1)))
		e.worker(t, 2)
		p := e.pool(t)
		began := time.Now()
		mr, err := producer.AttachMap(ctx(t), p, square, m)
		must(t, err)
		sr, err := producer.Attach(ctx(t), p, square, single)
		must(t, err)
		vs, err := mr.Get(ctx(t))
		same(t, "the squares", vs, err, []int{1, 4, 9})
		v, err := sr.Get(ctx(t))
		same(t, "the square", v, err, 16)
		if took := time.Since(began); took > foundWithin {
			t.Errorf("the lost deliveries were found after %v, want %v at the most", took, foundWithin)
		}
	})
}

// A Redis that lost its last writes: outcomes are gone, deliveries are not there any
// more, and the record says that a live worker has the chunks, as it was before.
func TestAChunkWhoseRecordingWasLostIsRunAgain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		if !e.real {
			t.Skip("miniredis has no DUMP of a hash")
		}
		e.worker(t, 2)
		before, gate := e.pool(t), e.probe()
		m, err := producer.MapAsync(ctx(t), before, hold, []probe{gate, gate}, producer.ChunkSize(1))
		must(t, err)
		single, err := producer.ApplyAsync(ctx(t), before, hold, gate)
		must(t, err)
		e.awaitStarted(t, gate, 2)
		dumps := map[string]string{}
		for _, id := range []string{m.ID(), single.ID()} {
			for _, key := range e.jobKeys(t, id) {
				dumps[key] = e.rdb.Dump(ctx(t), key).Val()
			}
		}
		e.open(t, gate)
		_, err = m.Get(ctx(t))
		must(t, err)
		_, err = single.Get(ctx(t))
		must(t, err)
		eventually(t, "no delivery is left", func() bool { return e.queueInfo(t).Size == 0 })
		before.Release()
		for _, id := range []string{m.ID(), single.ID()} {
			must(t, e.rdb.Del(ctx(t), e.jobKeys(t, id)...).Err())
		}
		for key, dump := range dumps {
			must(t, e.rdb.RestoreReplace(ctx(t), key, time.Hour, dump).Err())
		}
		p := e.pool(t)
		began := time.Now()
		m, err = producer.AttachMap(ctx(t), p, hold, m.ID())
		must(t, err)
		single, err = producer.Attach(ctx(t), p, hold, single.ID())
		must(t, err)
		_, err = m.Get(ctx(t))
		must(t, err)
		_, err = single.Get(ctx(t))
		must(t, err)
		if took := time.Since(began); took > foundWithin {
			t.Errorf("the chunks were found after %v, want %v at the most", took, foundWithin)
		}
	})
}

func TestThePoolsLogSaysThatNoWorkerServesTheQueue(t *testing.T) {
	usual(t)
	t.Parallel()
	e := newEnv(t, redisURLOfMini(t), false)
	p := e.pool(t)
	var rs []*results.AsyncResult[int]
	for n := range 3 {
		r, err := producer.ApplyAsync(ctx(t), p, square, n)
		must(t, err)
		rs = append(rs, r)
	}
	line := fmt.Sprintf("no worker serves the queue; its jobs wait for one\" queue=%s ", e.queue)
	eventually(t, "the log says so", func() bool { return strings.Contains(e.log.String(), line) })
	e.worker(t, 1)
	for _, r := range rs {
		_, err := r.Get(ctx(t))
		must(t, err)
	}
	if n := strings.Count(e.log.String(), line); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
}
