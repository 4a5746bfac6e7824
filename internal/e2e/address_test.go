package e2e_test

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/broker"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// addressed fails t unless id is the address of a job of the queue.
func addressed(t *testing.T, what, id, queue string) {
	t.Helper()
	if name, ok := strings.CutPrefix(id, queue+"/"); !ok || name == "" || strings.ContainsAny(name, "/:") {
		t.Errorf("the ID of %s is %q, want %s/NAME", what, id, queue)
	}
}

// The name of the queue has all that names of queues may have.
func TestTheIDOfEveryJobIsQueueAndName(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.queue += "/b:c_.D-"
		elsewhere := e.queue + "/other"
		e.worker(t, 2, func(s *workerSpec) { s.Also = elsewhere })
		p, other := e.pool(t), e.pool(t, func(c *producer.Config) { c.Queue = elsewhere })
		attaches := func(what, id, queue string) {
			t.Helper()
			addressed(t, what, id, queue)
			own, foreign := p, other
			if queue == elsewhere {
				own, foreign = other, p
			}
			for _, pool := range []*producer.Pool{p, other} {
				m, err := producer.AttachMap(ctx(t), pool, info, id)
				must(t, err)
				v, err := m.Get(ctx(t))
				must(t, err)
				same(t, "the ID by another handle", m.ID(), nil, id)
				same(t, what+" knows its job", v[0].Job, nil, id)
				same(t, what+" knows its queue", v[0].Queue, nil, queue)
			}
			m, err := producer.AttachMap(ctx(t), own, info, path.Base(id))
			must(t, err)
			same(t, "the ID of a bare name", m.ID(), nil, id)
			if _, err := producer.AttachMap(ctx(t), foreign, info, path.Base(id)); !errors.Is(err, results.ErrUnknownJob) {
				t.Errorf("%s attaches by its bare name to a pool of another queue: %v", what, err)
			}
		}
		for _, queue := range []string{e.queue, elsewhere} {
			for what, opt := range map[string]func() producer.Option{
				"drawn":   func() producer.Option { return producer.Queue(queue) },
				"chosen":  func() producer.Option { return producer.ID(fmt.Sprint("a.b_C-", queues.Add(1))) },
				"delayed": func() producer.Option { return producer.Delay(1) },
			} {
				r, err := producer.ApplyAsync(ctx(t), p, info, 1, opt(), producer.Queue(queue))
				must(t, err)
				attaches("a call, "+what, r.ID(), queue)
				m, err := producer.MapAsync(ctx(t), p, info, numbers(5), opt(), producer.Queue(queue), producer.ChunkSize(2))
				must(t, err)
				attaches("a map, "+what, m.ID(), queue)
			}
			v, err := producer.Apply(ctx(t), p, info, 1, producer.Queue(queue))
			must(t, err)
			addressed(t, "a blocking call", v.Job, queue)
			for v, err := range producer.IMap(ctx(t), p, info, slices.Values(numbers(3)), producer.Queue(queue)) {
				must(t, err)
				addressed(t, "a stream", v.Job, queue)
			}
		}
	})
}

func TestFailedCallsAreRetriedByTheirJobsAddress(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.queue += "/b:c"
		elsewhere := e.queue + "-other"
		e.worker(t, 2, func(s *workerSpec) { s.Also = elsewhere })
		p, other := e.pool(t), e.pool(t, func(c *producer.Config) { c.Queue = elsewhere })
		m, err := producer.MapAsync(ctx(t), p, act, []string{actFine, actError}, producer.ChunkSize(1))
		must(t, err)
		must(t, m.Wait(ctx(t)))
		for id, pool := range map[string]*producer.Pool{m.ID(): other, path.Base(m.ID()): p} {
			r, err := producer.RetryFailed(ctx(t), pool, act, id)
			must(t, err)
			addressed(t, "a retried job", r.ID(), e.queue)
			same(t, "the job that is retried", r.Of, nil, m.ID())
			must(t, r.Wait(ctx(t)))
		}
		if _, err := producer.RetryFailed(ctx(t), other, act, path.Base(m.ID())); !errors.Is(err, results.ErrUnknownJob) {
			t.Errorf("a bare name in a pool of another queue: %v", err)
		}
		moved, err := producer.RetryFailed(ctx(t), p, act, m.ID(), producer.Queue(elsewhere))
		must(t, err)
		addressed(t, "a job that was moved", moved.ID(), elsewhere)
		must(t, moved.Wait(ctx(t)))
	})
}

// One worker serves both queues, and runs calls of both jobs at the same time.
func TestANameInTwoQueuesIsTwoJobs(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		elsewhere := e.queue + "-other"
		w := e.worker(t, 4, func(s *workerSpec) { s.Also = elsewhere })
		p := e.pool(t)
		key := producer.ID("same-" + e.queue)
		for _, last := range []string{"forget", "cancel"} {
			gates := [2]probe{e.probe(), e.probe()}
			var ms [2]*results.MapResult[string]
			for i, queue := range []string{e.queue, elsewhere} {
				for range 2 { // the second time it is the same job
					m, err := producer.MapAsync(ctx(t), p, hold, []probe{gates[i], gates[i]}, key, producer.Queue(queue), producer.ChunkSize(1))
					must(t, err)
					same(t, "the ID", m.ID(), nil, queue+"/same-"+e.queue)
					ms[i] = m
				}
			}
			e.awaitStarted(t, gates[0], 2)
			e.awaitStarted(t, gates[1], 2)
			if last == "cancel" {
				must(t, ms[0].Cancel(ctx(t)))
				if _, err := ms[0].Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
					t.Errorf("the canceled job: %v", err)
				}
			} else {
				e.open(t, gates[0])
				_, err := ms[0].Get(ctx(t))
				must(t, err)
			}
			same(t, "calls of the other job that are over", ms[1].Progress().Done, nil, 0)
			must(t, ms[0].Forget(ctx(t)))
			e.open(t, gates[1])
			_, err := ms[1].Get(ctx(t))
			must(t, err)
			if _, err := producer.AttachMap(ctx(t), e.pool(t), hold, ms[0].ID()); !errors.Is(err, results.ErrUnknownJob) {
				t.Errorf("the job that was forgotten attaches: %v", err)
			}
			_, err = producer.AttachMap(ctx(t), e.pool(t), hold, ms[1].ID())
			must(t, err)
			must(t, ms[1].Forget(ctx(t)))
			same(t, "calls that ran", e.rdb.LLen(ctx(t), gates[0].Key+":started").Val()+e.rdb.LLen(ctx(t), gates[1].Key+":started").Val(), nil, 4)
		}
		survivors(t, p, w)
	})
}

// Only a program that writes to asynq's keys can do this.
func TestADeliveryOfAnotherQueuesJobIsForeign(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		elsewhere, mark := e.queue+"-other", e.probe()
		p := e.pool(t)
		r, err := producer.ApplyAsync(ctx(t), p, note, mark, producer.Queue(elsewhere))
		must(t, err)
		must(t, broker.New(e.rdb).Enqueue(ctx(t), e.queue, note.Name(), []wire.Delivery{{Job: r.ID(), Number: 1}}))
		w := e.worker(t, 2)
		eventually(t, "the delivery is refused", func() bool {
			refused, err := e.inspector().ListArchivedTasks(e.queue)
			return err == nil && len(refused) == 1 && strings.Contains(refused[0].LastErr, "its job is of queue")
		})
		survivors(t, p, w)
		same(t, "runs of the call", e.rdb.LLen(ctx(t), mark.Key).Val(), nil, 0)
		if owner, err := e.rdb.HGet(ctx(t), record.Keys(r.ID())[0], "run").Result(); err == nil {
			t.Errorf("the call is %q's", owner)
		}
		e.worker(t, 1, func(s *workerSpec) { s.Also = elsewhere })
		_, err = r.Get(ctx(t))
		must(t, err)
		same(t, "runs of the call", e.rdb.LLen(ctx(t), mark.Key).Val(), nil, 1)
	})
}
