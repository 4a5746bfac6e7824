package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

func TestCallsAndMapsAreRunAndRecorded(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		b.call(t, "before", "square", "3")
		b.start(t, worker.Config{}, square)
		b.submit(t, "map", job.About{Task: "square"}, 3, "1", "2", "3", "4", "5", "6", "7")
		b.wantValues(t, "before", 0, "[9]")
		b.wantValues(t, "map", 0, "[1,4,9]")
		b.wantValues(t, "map", 2, "[49]")
		eventually(t, "asynq has no delivery left", func() bool {
			q := b.info(t)
			return q.Size == 0 && q.Processed == 4 && q.Failed == 0
		})
	})
}

func TestAFailedDeliveryIsArchivedWithItsError(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		odd := tasks.Define("odd", func(_ context.Context, n int) (int, error) {
			if n%2 == 0 {
				return 0, errors.New("that is even")
			}
			return n, nil
		})
		b.start(t, worker.Config{}, odd)
		b.submit(t, "j", job.About{Task: "odd"}, 3, "1", "2", "3")
		o := b.outcome(t, "j", 0)
		if len(o.Errors) != 1 || o.Errors[0].Call != 1 || string(o.Values) != "[1,0,3]" {
			t.Errorf("the outcomes are %s and %v", o.Values, o.Errors)
		}
		archived, err := b.inspector().ListArchivedTasks(b.lane)
		if err != nil || len(archived) != 1 {
			t.Fatalf("archived: %v, %v", archived, err)
		}
		want := "1 of 3 calls failed; call 1: that is even"
		if a := archived[0]; a.Type != "odd" || a.LastErr != want || time.Since(a.LastFailedAt) > time.Minute || string(a.Payload) != `{"job":"q/j","chunk":0}` {
			t.Errorf("archived is a delivery of type %q, error %q, payload %s, want %q", a.Type, a.LastErr, a.Payload, want)
		}
		if q := b.info(t); q.Processed != 1 || q.Failed != 1 || q.Active != 0 {
			t.Errorf("the queue is %+v", q)
		}
	})
}

func TestACallThatWaitsForItsNextAttemptIsInRetry(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		var at [2]atomic.Int64
		var runs atomic.Int64
		try := tasks.Define("try", func(context.Context, int) (int, error) {
			n := runs.Add(1)
			at[n-1].Store(time.Now().UnixMilli())
			if n == 1 {
				return 0, errors.New("not yet")
			}
			return int(n), nil
		}, tasks.Retry(1, tasks.Every(1300*time.Millisecond)))
		b.start(t, worker.Config{Concurrency: 1}, try, square)
		b.call(t, "j", "try", "1")
		eventually(t, "the delivery waits", func() bool {
			waiting, err := b.inspector().ListRetryTasks(b.lane)
			return err == nil && len(waiting) == 1 && strings.Contains(waiting[0].LastErr, "call 0, attempt 1: not yet")
		})
		b.call(t, "beside", "square", "2")
		b.wantValues(t, "beside", 0, "[4]")
		b.wantValues(t, "j", 0, "[2]")
		if d := at[1].Load() - at[0].Load(); d < 1290 || d > 2300 {
			t.Errorf("the second attempt began %d ms after the first, want 1300", d)
		}
	})
}

func TestATaskThatNoWorkerKnowsFailsItsCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		b.start(t, worker.Config{}, square)
		b.submit(t, "j", job.About{Task: "cube"}, 2, "1", "2")
		if o := b.outcome(t, "j", 0); len(o.Errors) != 2 || o.Errors[0].Kind != wire.KindUnknownTask || !strings.Contains(o.Errors[0].Message, "knows square") {
			t.Errorf("the calls failed with %+v", o.Errors)
		}
	})
}

func TestATaskThatAnotherWorkerKnowsIsLeftToIt(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		for range 3 {
			b.start(t, worker.Config{Concurrency: 1}, square)
		}
		g := newGate("gate")
		b.start(t, worker.Config{Concurrency: 1}, g)
		eventually(t, "the workers are registered", func() bool { return b.rdb.ZCard(t.Context(), "distpool:@{workers}").Val() == 4 })
		b.call(t, "held", "gate", "0")
		eventually(t, "the worker that knows the task runs it", func() bool { return g.runs(0) == 1 })
		b.submit(t, "map", job.About{Task: "gate"}, 1, "1", "2", "3")
		b.call(t, "beside", "square", "3")
		b.wantValues(t, "beside", 0, "[9]") // by a worker that does not know the others
		if s := b.snapshot(t, "map"); s.Recorded > 0 {
			t.Errorf("%d chunks were recorded while the worker that knows their task was busy", s.Recorded)
		}
		close(g.open)
		b.wantValues(t, "map", 2, "[3]")
	})
}

func TestACanceledJobsCallsAreCanceled(t *testing.T) {
	for how, cancel := range map[string]func(t *testing.T, b *bed){
		"announced": func(t *testing.T, b *bed) {
			if _, err := job.Cancel(t.Context(), b.rdb, b.lane, "enough", job.Ref{Name: "j"}); err != nil {
				t.Fatal(err)
			}
		},
		"with the announcement lost": func(t *testing.T, b *bed) {
			rdb := redis.NewClient(b.rdb.(*redis.Client).Options())
			defer rdb.Close()
			rdb.AddHook(silent{})
			if _, err := job.Cancel(t.Context(), rdb, b.lane, "enough", job.Ref{Name: "j"}); err != nil {
				t.Fatal(err)
			}
		},
		"with asynq's tools": func(t *testing.T, b *bed) {
			if err := b.inspector().CancelProcessing("j:0:1"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bed) {
				g := newGate("gate")
				b.start(t, worker.Config{}, g)
				b.call(t, "j", "gate", "1")
				eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
				eventually(t, "the worker listens", func() bool {
					n := b.rdb.PubSubNumSub(t.Context(), asynqfmt.CancelChannel, job.ControlChannel(b.lane)).Val()
					return n[asynqfmt.CancelChannel] == 1 && n[job.ControlChannel(b.lane)] == 1
				})
				cancel(t, b)
				eventually(t, "the call's context is canceled", func() bool { return g.causes() == "[the job was canceled]" })
				eventually(t, "asynq has no delivery left", func() bool { return b.info(t).Size == 0 })
				if s := b.snapshot(t, "j"); s.State != job.Canceled {
					t.Errorf("the job is %s", s.State)
				}
			})
		})
	}
}

// silent has scripts of a client publish nothing.
type silent struct{}

func (silent) DialHook(next redis.DialHook) redis.DialHook { return next }
func (silent) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for i, arg := range cmd.Args() {
			if arg == "PUBLISH" {
				cmd.Args()[i] = "NONE"
			}
		}
		return next(ctx, cmd)
	}
}
func (silent) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestAsynqsToolsSeeWhatRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		g := newGate("gate")
		w := b.start(t, worker.Config{Concurrency: 3}, g)
		b.call(t, "j", "gate", "1")
		eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
		if active, err := b.inspector().ListActiveTasks(b.lane); err != nil || len(active) != 1 || active[0].Type != "gate" || active[0].IsOrphaned {
			t.Errorf("active: %+v, %v", active, err)
		}
		var s *asynq.ServerInfo
		eventually(t, "the worker is listed with its call", func() bool {
			servers, err := b.inspector().Servers()
			if err != nil || len(servers) != 1 {
				return false
			}
			s = servers[0]
			return len(s.ActiveWorkers) == 1
		})
		if s.Concurrency != 3 || s.Queues["q"] != 1 || s.Status != "active" || s.ActiveWorkers[0].TaskID != "j:0:1" || s.ActiveWorkers[0].Queue != "q" {
			t.Errorf("the server is %+v, running %+v", s, s.ActiveWorkers[0])
		}
		close(g.open)
		b.wantValues(t, "j", 0, "[1]")
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if servers, err := b.inspector().Servers(); err != nil || len(servers) != 0 {
			t.Errorf("the servers are %v, %v", servers, err)
		}
	})
}

func TestATaskOfAnotherProgramIsArchived(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		b.start(t, worker.Config{}, square)
		client := asynq.NewClientFromRedisClient(b.rdb)
		if _, err := client.Enqueue(asynq.NewTask("mail", []byte("to")), asynq.Queue(b.lane), asynq.TaskID("abc")); err != nil {
			t.Fatal(err)
		}
		var a []*asynq.TaskInfo
		eventually(t, "it is archived", func() (ok bool) {
			a, _ = b.inspector().ListArchivedTasks(b.lane)
			return len(a) == 1
		})
		if a[0].Type != "mail" || string(a[0].Payload) != "to" || !strings.Contains(a[0].LastErr, "another program uses this queue") {
			t.Errorf("archived: %+v", a[0])
		}
	})
}
