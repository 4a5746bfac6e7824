package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// What asynq's inspector lists is what asynqmon shows.
func TestOperatorsSeeTheQueueTheWorkersAndTheFailures(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 3)
		p := e.pool(t)
		_, err := producer.Apply(ctx(t), p, act, actError)
		taskError(t, err)
		_, err = producer.Map(ctx(t), p, act, []string{actFine, actPanic, actFine, actSentinel}, producer.ChunkSize(4))
		mentions(t, err, "2 of 4")

		inspector := e.inspector()
		names, err := inspector.Queues()
		must(t, err)
		for _, lane := range e.lanes(t) {
			if !slices.Contains(names, lane) {
				t.Errorf("queues %q; want %s among them", names, lane)
			}
		}
		eventually(t, "two failed deliveries are listed", func() bool { return e.queueInfo(t).Archived == 2 })
		var archived []*asynq.TaskInfo
		for _, lane := range e.lanes(t) {
			more, err := inspector.ListArchivedTasks(lane)
			must(t, err)
			archived = append(archived, more...)
		}
		var messages []string
		for _, a := range archived {
			if a.Type != "act" {
				t.Errorf("a failed delivery is of type %q, want the task's name", a.Type)
			}
			messages = append(messages, a.LastErr)
		}
		all := strings.Join(messages, "\n")
		for _, want := range []string{"1 of 1 calls failed", "cannot act", "2 of 4 calls failed", "the task fell over"} {
			if !strings.Contains(all, want) {
				t.Errorf("no failed delivery says %q; they say\n%s", want, all)
			}
		}
		if q := e.queueInfo(t); q.Failed != 2 || q.Size != 2 {
			t.Errorf("the queue counts %d failures and holds %d deliveries, want 2 and 2", q.Failed, q.Size)
		}
		if _, err := producer.Map(ctx(t), p, square, numbers(4), producer.ChunkSize(1)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "what succeeded is gone from the queue", func() bool {
			q := e.queueInfo(t)
			return q.Size == 2 && q.Processed == 6
		})
		eventually(t, "asynq lists the worker with its slots", func() bool {
			servers, err := inspector.Servers()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range servers {
				if serves(s, e.lanes(t)) && s.Concurrency == 3 && s.Status == "active" {
					return true
				}
			}
			return false
		})
	})
}

// serves reports whether asynq lists all the lanes for the worker.
func serves(s *asynq.ServerInfo, lanes []string) bool {
	return !slices.ContainsFunc(lanes, func(lane string) bool { return s.Queues[lane] == 0 })
}

// distant is the time until what waits in the tests below is due.
const distant = time.Hour

// listed waits until asynq lists the first delivery of a job in the state, and checks what it says of it.
func (e *env) listed(t *testing.T, id, task string, state asynq.TaskState) (d *asynq.TaskInfo) {
	t.Helper()
	lane := e.lane(t, id)
	list := map[asynq.TaskState]func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
		asynq.TaskStatePending: e.inspector().ListPendingTasks, asynq.TaskStateScheduled: e.inspector().ListScheduledTasks,
		asynq.TaskStateActive: e.inspector().ListActiveTasks, asynq.TaskStateRetry: e.inspector().ListRetryTasks,
		asynq.TaskStateArchived: e.inspector().ListArchivedTasks,
	}[state]
	eventually(t, fmt.Sprintf("a delivery of %s is %v", id, state), func() bool {
		all, err := list(lane)
		must(t, err)
		i := slices.IndexFunc(all, func(d *asynq.TaskInfo) bool { return d.ID == taskID(id, 0, 1) })
		if i >= 0 {
			d = all[i]
		}
		return i >= 0
	})
	if payload := fmt.Sprintf(`{"job":%q,"chunk":0}`, id); d.Type != task || string(d.Payload) != payload || d.Queue != lane || d.State != state {
		t.Errorf("asynq lists %+v with payload %s, want task %q with %s", d, d.Payload, task, payload)
	}
	return d
}

// near fails t unless the time is that one, give or take a minute.
func near(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if d := got.Sub(want); d < -time.Minute || d > time.Minute {
		t.Errorf("%s is %v, want about %v", what, got, want)
	}
}

// What asynq's Inspector tells of deliveries in each state, of the servers, and of the day.
func TestOperatorsSeeDeliveriesInEveryState(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		waits, err := producer.ApplyAsync(ctx(t), p, square, 3)
		must(t, err)
		later, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.Delay(distant))
		must(t, err)
		if d := e.listed(t, waits.ID(), "square", asynq.TaskStatePending); d.LastErr != "" || !d.LastFailedAt.IsZero() {
			t.Errorf("a delivery that waits has failed: %+v", d)
		}
		near(t, "the start", e.listed(t, later.ID(), "square", asynq.TaskStateScheduled).NextProcessAt, time.Now().Add(distant))
		if q := e.queueInfo(t); q.Pending != 1 || q.Scheduled != 1 || q.Size != 2 {
			t.Errorf("the queue is %+v", q)
		}

		e.worker(t, 2)
		n, err := waits.Get(ctx(t))
		same(t, "the square", n, err, 9)
		runs, gate := e.held(t, hold)
		again, err := producer.ApplyAsync(ctx(t), p, try, attempt{e.probe(), 2, ""}, producer.Retry(1, tasks.Every(distant)))
		must(t, err)
		fails, err := producer.ApplyAsync(ctx(t), p, act, actError)
		must(t, err)
		if d := e.listed(t, runs.ID(), "hold", asynq.TaskStateActive); d.IsOrphaned {
			t.Error("asynq takes a delivery that runs for an orphan")
		}
		d := e.listed(t, again.ID(), "try", asynq.TaskStateRetry)
		near(t, "the next attempt", d.NextProcessAt, time.Now().Add(distant))
		near(t, "the failure", d.LastFailedAt, time.Now())
		mentions(t, errors.New(d.LastErr), "1 of 1 calls run again", "attempt 1")
		d = e.listed(t, fails.ID(), "act", asynq.TaskStateArchived)
		near(t, "the failure", d.LastFailedAt, time.Now())
		mentions(t, errors.New(d.LastErr), "1 of 1 calls failed", "cannot act")

		eventually(t, "asynq lists the worker with its call", func() bool {
			servers, err := e.inspector().Servers()
			must(t, err)
			i := slices.IndexFunc(servers, func(s *asynq.ServerInfo) bool { return serves(s, e.lanes(t)) })
			if i < 0 || len(servers[i].ActiveWorkers) != 1 {
				return false
			}
			w := servers[i].ActiveWorkers[0]
			near(t, "the start of the call", w.Started, time.Now())
			return w.TaskID == taskID(runs.ID(), 0, 1) && w.TaskType == "hold" && w.Queue == e.lane(t, runs.ID())
		})
		e.open(t, gate)
		_, err = runs.Get(ctx(t))
		must(t, err)
		eventually(t, "the counts of the day are right", func() bool {
			processed, failed := 0, 0
			for _, lane := range e.lanes(t) {
				days, err := e.inspector().History(lane, 2) // midnight may pass
				must(t, err)
				for _, day := range days {
					processed, failed = processed+day.Processed, failed+day.Failed
				}
			}
			return processed == 3 && failed == 1
		})
	})
}

// What an operator does with asynq's Inspector is done.
func TestOperatorsSteerDeliveries(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p, mark, inspector := e.pool(t), e.probe(), e.inspector()
		e.worker(t, 2)
		v, err := producer.Apply(ctx(t), p, square, 2) // asynq knows the queue
		same(t, "the square", v, err, 4)

		later, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.Delay(distant))
		must(t, err)
		e.listed(t, later.ID(), "square", asynq.TaskStateScheduled)
		must(t, inspector.RunTask(e.lane(t, later.ID()), taskID(later.ID(), 0, 1)))
		v, err = later.Get(ctx(t))
		same(t, "a call that was run before its time", v, err, 9)

		again, err := producer.ApplyAsync(ctx(t), p, try, attempt{mark, 3, ""}, producer.Retry(2, tasks.Every(distant)))
		must(t, err)
		for attempts := 1; attempts <= 2; attempts++ {
			eventually(t, "the next attempt waits", func() bool { return len(e.runs(t, mark, 0)) == attempts })
			e.listed(t, again.ID(), "try", asynq.TaskStateRetry)
			must(t, inspector.RunTask(e.lane(t, again.ID()), taskID(again.ID(), 0, 1)))
		}
		v, err = again.Get(ctx(t))
		same(t, "a call whose attempts were run before their time", v, err, 3)

		runs, _ := e.held(t, hold)
		e.awaitListed(t) // so the worker has beaten, and listens
		eventually(t, "the job is canceled", func() bool {
			must(t, inspector.CancelProcessing(taskID(runs.ID(), 0, 1)))
			_, _ = runs.GetTimeout(100 * time.Millisecond)
			return runs.Ready()
		})
		if _, err := runs.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("the call ended with %v, want ErrCanceled", err)
		}

		e.pauseLanes(t)
		if !e.queueInfo(t).Paused {
			t.Error("the queue is not paused")
		}
		stays, err := producer.ApplyAsync(ctx(t), p, square, 5)
		must(t, err)
		e.listed(t, stays.ID(), "square", asynq.TaskStatePending)
		for _, lane := range e.lanes(t) {
			must(t, inspector.UnpauseQueue(lane))
		}
		v, err = stays.Get(ctx(t))
		same(t, "a call of a queue that was paused", v, err, 25)
	})
}
