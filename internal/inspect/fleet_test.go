package inspect_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/recent"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

func TestWorkersSayWhatTheyDo(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in, f := inspect.New(rdb), start(t, rdb)
		_, _ = producer.Map(t.Context(), f.pool, fail, []int{0, 1, 2, 3, 4})
		held, err := producer.ApplyAsync(t.Context(), f.pool, hold, 1)
		if err != nil {
			t.Fatal(err)
		}
		var w fleet.LiveWorker
		eventually(t, "the worker reports its calls and its busy slot", func() bool {
			ws, err := in.Workers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(ws) != 1 {
				return false
			}
			w = ws[0]
			return w.Stats.Calls == 5 && w.Stats.Failed == 2 && w.Stats.Busy == 1
		})
		if w.Host == "" || w.Version == "" || w.Concurrency != 2 || !w.Knows("fail") || w.LastSeen < 0 || w.LastSeen > fleet.Lifetime {
			t.Errorf("the worker is %+v", w)
		}
		if err := held.Cancel(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestQueuesAreListedAndPaused(t *testing.T) {
	test := func(t *testing.T, rdb redis.UniversalClient) {
		in, f := inspect.New(rdb), start(t, rdb)
		var qs []inspect.Queue
		var err error
		for len(qs) == 0 || qs[0].Workers == 0 { // the worker announces itself, and names its queue
			if qs, err = in.Queues(t.Context()); err != nil {
				t.Fatalf("before the first job: %v", err)
			}
		}
		if q := qs[0]; len(qs) != 1 || q.Name != "distpool" || q.Workers != 1 {
			t.Errorf("before the first job the queues are %+v", qs)
		}
		if _, err := producer.ApplyAsync(t.Context(), f.pool, hold, 1, producer.Queue("other")); err != nil {
			t.Fatal(err)
		}
		if _, err := producer.Apply(t.Context(), f.pool, fail, 2); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := in.Pause(t.Context(), "other"); err != nil {
				t.Fatal(err)
			}
		}
		qs, err = in.Queues(t.Context())
		if err != nil || len(qs) != 2 {
			t.Fatalf("the queues are %+v, %v", qs, err)
		}
		if q := qs[0]; q.Name != "distpool" || q.Workers != 1 || q.Slots != 2 || q.Paused || q.Pending != 0 {
			t.Errorf("the served queue is %+v", q)
		}
		if q := qs[1]; q.Name != "other" || q.Workers != 0 || !q.Paused || q.Pending != 1 || q.Latency <= 0 {
			t.Errorf("the other queue is %+v", q)
		}
		for range 2 {
			if err := in.Resume(t.Context(), "other"); err != nil {
				t.Fatal(err)
			}
		}
		if qs, err = in.Queues(t.Context()); err != nil || qs[1].Paused {
			t.Errorf("after resume: %+v, %v", qs, err)
		}
		if err := in.Pause(t.Context(), "nobody"); err == nil {
			t.Error("a queue that does not exist can be paused")
		}
	}
	onBoth(t, test)
	onCluster(t, test)
}

func TestSentinelIsFine(t *testing.T) {
	master := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, master, "main")
	rdb, err := redisconn.Open(t.Context(), "redis://"+sentinel.Addr()+"?master_name=main")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	in := inspect.New(rdb)
	create(t, rdb, testJob{ID: "q/j", Task: "t", Chunks: 1}, 1)
	list(t, rdb, 0, recent.Listed{ID: "q/j", Task: "t", Queue: "q", Single: true})
	if p := jobs(t, in, inspect.Query{}); len(p.Jobs) != 1 {
		t.Errorf("the jobs are %+v", p)
	}
	if _, err := in.Queues(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNowIsTheTimeOfRedis(t *testing.T) {
	rdb := redistestClient(t)
	now, err := inspect.New(rdb).Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := now.Sub(rdb.Time(t.Context()).Val()).Abs(); d > 5*time.Second {
		t.Errorf("it is %v off", d)
	}
}

func TestCancelTakesWhatWaitsOutOfTheQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		p, err := producer.Open(t.Context(), producer.Config{Client: rdb})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Release()
		m, err := producer.MapAsync(t.Context(), p, hold, []int{1, 2, 3}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		later, err := producer.ApplyAsync(t.Context(), p, hold, 1, producer.Delay(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{m.ID(), later.ID(), m.ID()} {
			if s, err := in.CancelAndWithdraw(t.Context(), id); err != nil || s != job.Canceled {
				t.Errorf("canceling %s says %q, %v", id, s, err)
			}
		}
		if left := rdb.LRange(t.Context(), "asynq:{distpool}:pending", 0, -1).Val(); len(left) != 0 {
			t.Errorf("%q wait, want none", left)
		}
		if n := rdb.ZCard(t.Context(), "asynq:{distpool}:scheduled").Val(); n != 0 {
			t.Errorf("%d deliveries are for later, want none", n)
		}
		for _, id := range []string{"NEVERWAS", "not an ID"} {
			if _, err := in.CancelAndWithdraw(t.Context(), id); !errors.Is(err, inspect.ErrNoJob) {
				t.Errorf("canceling %q: %v", id, err)
			}
		}
	})
}
