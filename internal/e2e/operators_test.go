package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/producer"
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
