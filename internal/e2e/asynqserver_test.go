package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/asynqhandler"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// byAsynq has a stock asynq.Server take the worker's deliveries.
func byAsynq(s *workerSpec) { s.Asynq = true }

// tally counts its runs. One call of fifty fails, and the one after it needs a second attempt.
var tally = tasks.Define("tally", func(ctx context.Context, p probe) (string, error) {
	info := tasks.Info(ctx)
	if err := client(p.URL).HIncrBy(ctx, p.Key, strconv.Itoa(info.Call), 1).Err(); err != nil {
		return "", err
	}
	switch {
	case info.Call%50 == 0:
		return "", tasks.Permanent(errStock)
	case info.Call%50 == 1 && info.Attempt == 1:
		return "", errStock
	}
	return fmt.Sprint(info.Call, " ", info.Worker), nil
})

func init() { allTasks = append(allTasks, tally) }

// serveByAsynq has a stock asynq.Server serve the tasks until ctx ends.
func (s workerSpec) serveByAsynq(ctx context.Context, cfg worker.Config, known []tasks.Runner) error {
	h, err := asynqhandler.New(ctx, asynqhandler.Config{Worker: cfg}, known...)
	if err != nil {
		return err
	}
	server := asynq.NewServerFromRedisClient(client(s.Redis), asynq.Config{
		Concurrency: s.Slots, Queues: h.Queues(), StrictPriority: s.Strict, TaskCheckInterval: 10 * time.Millisecond, LogLevel: asynq.WarnLevel,
	})
	if err := server.Start(h); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-h.Done():
	}
	server.Stop()
	err = h.Close()
	server.Shutdown()
	return err
}

const (
	tallies    = 20_000
	tallyChunk = 10
	tallyFails = tallies / 50 // calls, each in a chunk of its own
)

// startTally submits all calls of tally.
func (e *env) startTally(t *testing.T, p *producer.Pool) (*results.MapResult[string], probe) {
	t.Helper()
	mark := e.probe()
	m, err := producer.MapAsync(ctx(t), p, tally, slices.Repeat([]probe{mark}, tallies), producer.ChunkSize(tallyChunk), producer.Retry(1, tasks.Every(time.Millisecond)))
	must(t, err)
	return m, mark
}

// endTally wants each call in the record once, with what it returned. It returns how many calls ran
// on each worker, by its name, and how often calls ran again that did not have to.
func (e *env) endTally(t *testing.T, m *results.MapResult[string], mark probe) (by map[string]int, again int) {
	t.Helper()
	got, err := m.Get(ctx(t))
	failed, ok := errors.AsType[*results.MapError](err)
	if !ok || len(failed.Errors) != tallyFails || !errors.Is(err, errStock) {
		t.Fatalf("the map ended with %v, want %d failed calls", err, tallyFails)
	}
	ran := e.rdb.HGetAll(ctx(t), mark.Key).Val()
	by = map[string]int{}
	for n, value := range got {
		runs, _ := strconv.Atoi(ran[strconv.Itoa(n)])
		if n%50 == 1 {
			runs--
		}
		if again += runs - 1; runs < 1 {
			t.Errorf("call %d ran %s times", n, ran[strconv.Itoa(n)])
		}
		call, on, _ := strings.Cut(value, " ")
		if n%50 != 0 && call != strconv.Itoa(n) || n%50 == 0 && value != "" {
			t.Errorf("call %d returned %q", n, value)
		}
		by[nameOf(on)]++
	}
	if p := m.Progress(); p.Done != tallies || p.Failed != tallyFails {
		t.Errorf("the record counts %d calls and %d failures, want %d and %d", p.Done, p.Failed, tallies, tallyFails)
	}
	return by, again
}

// Workers and stock asynq servers share a queue.
func TestAMixedFleetLosesNothingAndRunsNothingTwice(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		fleet := []*testWorker{e.worker(t, 2), e.worker(t, 2, byAsynq), e.worker(t, 2), e.worker(t, 2, byAsynq)}
		p := e.pool(t)
		m, mark := e.startTally(t, p)
		by, again := e.endTally(t, m, mark)
		for _, w := range fleet {
			if by[w.name] == 0 {
				t.Errorf("worker %s ran nothing: %v", w.name, by)
			}
		}
		if again != 0 {
			t.Errorf("%d calls ran again", again)
		}
		eventually(t, "asynq counts each delivery once", func() bool {
			q := e.queueInfo(t)
			return q.Archived == tallyFails && q.Failed == tallyFails && q.Processed == tallies/tallyChunk && q.Size == q.Archived
		})
	})
}

// The same, and one of each is killed.
func TestAMixedFleetSurvivesTheDeathOfItsMembers(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		dies := func(s *workerSpec) { s.Dies = true }
		doomed := []*testWorker{e.worker(t, 2, dies), e.worker(t, 2, byAsynq, dies)}
		e.worker(t, 2)
		e.worker(t, 2, byAsynq)
		p := e.pool(t)
		m, mark := e.startTally(t, p)
		for i, w := range doomed {
			eventually(t, "calls have run", func() bool { return m.Progress().Done >= (i+1)*tallies/4 })
			w.kill()
		}
		_, again := e.endTally(t, m, mark)
		// A dead worker has not recorded what ran in its slots and in the background.
		if most := 2 * (2 + 64) * tallyChunk; again > most {
			t.Errorf("%d calls ran again, want %d at the most", again, most)
		}
		eventually(t, "nothing is left of the deliveries that were done", func() bool {
			q := e.queueInfo(t)
			return q.Size == q.Archived && q.Archived <= tallyFails && q.Archived >= tallyFails-2
		})
	})
}

// A server of asynq that is no part of distpool runs its own tasks on another queue, and distpool's
// supervision leaves them alone.
func TestAnAsynqServerOfAnotherQueueIsLeftAlone(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		e.worker(t, 2, func(s *workerSpec) { s.Archived = 3 })
		p := e.pool(t)
		const own, n = "own", 20
		var ran atomic.Int64
		hold := make(chan struct{})
		mux := asynq.NewServeMux()
		mux.HandleFunc("good", func(context.Context, *asynq.Task) error { ran.Add(1); return nil })
		mux.HandleFunc("bad", func(context.Context, *asynq.Task) error { return fmt.Errorf("no: %w", asynq.SkipRetry) })
		mux.HandleFunc("held", func(context.Context, *asynq.Task) error { <-hold; return nil })
		server := asynq.NewServerFromRedisClient(e.rdb, asynq.Config{
			Concurrency: 2, Queues: map[string]int{own: 1}, TaskCheckInterval: 10 * time.Millisecond, LogLevel: asynq.FatalLevel,
		})
		must(t, server.Start(mux))
		t.Cleanup(server.Shutdown)
		c := asynq.NewClientFromRedisClient(e.rdb)
		for _, kind := range append(slices.Repeat([]string{"good", "bad"}, n), "held") {
			_, err := c.Enqueue(asynq.NewTask(kind, nil), asynq.Queue(own))
			must(t, err)
		}
		info := func() *asynq.QueueInfo {
			q, err := e.inspector().GetQueueInfo(own)
			must(t, err)
			return q
		}
		eventually(t, "its tasks have run", func() bool { q := info(); return q.Archived == n && q.Processed == 2*n && q.Active == 1 })
		// More than their bound, so that the supervision has bounded archives when they are fewer.
		lanes := len(e.lanes(t))
		for range 5 * lanes {
			_, err := producer.Apply(ctx(t), p, act, actError)
			taskError(t, err)
		}
		eventually(t, "all are archived", func() bool { return e.queueInfo(t).Failed == 5*lanes })
		eventually(t, "the archives of distpool's queue are bounded", func() bool { return e.queueInfo(t).Archived <= 3*lanes })
		if q := info(); ran.Load() != n || q.Archived != n || q.Active != 1 {
			t.Errorf("%d tasks ran, want %d; the queue is %+v", ran.Load(), n, q)
		}
		close(hold)
		eventually(t, "the task that was held ends", func() bool { return info().Processed == 2*n+1 })
	})
}

// A server with a handler of its own serves a queue of distpool's deliveries and its own tasks.
func TestAnAsynqServerRunsItsOwnTasksBesideDistpools(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		mail := make(chan string, 1)
		h, err := asynqhandler.New(ctx(t), asynqhandler.Config{
			Worker: worker.Config{Keyring: suiteKeyring, Client: client(e.url), Queues: map[string]int{e.queue: 1}, Concurrency: 2},
			Others: asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
				mail <- task.Type() + " " + string(task.Payload())
				return nil
			}),
		}, square)
		must(t, err)
		server := asynq.NewServerFromRedisClient(e.rdb, asynq.Config{
			Concurrency: 2, Queues: h.Queues(), TaskCheckInterval: 10 * time.Millisecond, LogLevel: asynq.FatalLevel,
		})
		must(t, server.Start(h))
		t.Cleanup(func() {
			server.Stop()
			must(t, h.Close())
			server.Shutdown()
		})
		_, err = asynq.NewClientFromRedisClient(e.rdb).Enqueue(asynq.NewTask("mail", []byte("to")), asynq.Queue(e.queue))
		must(t, err)
		n, err := producer.Apply(ctx(t), e.pool(t), square, 12)
		same(t, "Apply", n, err, 144)
		if got := receive(t, "the server's own task", mail); got != "mail to" {
			t.Errorf("it ran %q", got)
		}
		eventually(t, "both are done", func() bool { q := e.queueInfo(t); return q.Processed == 2 && q.Size == 0 })
	})
}
