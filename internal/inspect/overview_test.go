package inspect_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
)

func TestAnOverviewSaysWhenACallBegan(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		look := func() inspect.Job {
			t.Helper()
			jobs, err := in.Look(t.Context(), []string{"q/j"})
			if err != nil {
				t.Fatal(err)
			}
			return jobs[0]
		}
		if o := look(); o.State != job.Gone {
			t.Errorf("no job: %+v", o)
		}
		create(t, rdb, testJob{ID: "q/j", Task: "square", Chunks: 1}, 1)
		if o := look(); o.Begun != 0 || o.Owner != "" || o.State != job.Sealed || o.TTL != time.Hour || o.Task != "square" {
			t.Errorf("waiting: %+v", o)
		}
		begin(t, rdb, "q/j", 0, 1, "w")
		running := look()
		if running.Owner != "w" || running.Begun < running.Created || running.Begun == 0 || running.Overview.Running != 1 {
			t.Errorf("running: %+v", running)
		}
		rec(t, rdb, "q/j", 0, 1, 5*time.Second, 0)
		o := look()
		if o.State != job.Done || o.Recorded != 1 || o.Done != 1 || o.Overview.Failed != 1 || o.Out != nil || o.Owner != "" || o.Begun != running.Begun {
			t.Errorf("done: %+v, begun at %d", o, running.Begun)
		}
		if want := []inspect.SlowCall{{Call: 0, Took: 5 * time.Second, Worker: "w"}}; !slices.Equal(o.Slow, want) {
			t.Errorf("slow are %v, want %v", o.Slow, want)
		}
	})
}

func TestChunksStandAsTheirTransitionsLeftThem(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, testJob{ID: "q/j", Task: "t", Chunks: 6}, 2)
		for k := range 5 {
			begin(t, rdb, "q/j", k, 1, "w")
		}
		rec(t, rdb, "q/j", 0, 2, 0)
		rec(t, rdb, "q/j", 1, 2, 0, 1)
		lane, d := place(t, rdb, "q/j", 2, 1)
		back := job.Return(d, []byte("part"), 1, job.Tail, job.Message(lane, "t", d, "", time.Time{}))
		if answers, err := job.Finish(t.Context(), rdb, lane, job.Finishing{Worker: "w", Now: time.Now()}, []job.Finished{back}); err != nil || answers[0] != job.OK {
			t.Fatal(answers, err)
		}
		die(t, rdb, "q/j", 3, "w")
		found, err := inspect.New(rdb).Job(t.Context(), "q/j", 6)
		if err != nil {
			t.Fatal(err)
		}
		for k, want := range []string{"1 done", "1 failed", "1 waiting", "1 waiting", "1 running", "1 waiting"} {
			c := found.Cells[k]
			for n, what := range map[string]int{"done": c.Done, "failed": c.Failed, "running": c.Running, "waiting": c.Waiting()} {
				if (fmt.Sprint(what, " ", n) == want) != (what == 1) {
					t.Errorf("chunk %d: %+v, want %s", k, c, want)
				}
			}
		}
		if len(found.Runs) != 3 {
			t.Fatalf("runs: %+v", found.Runs)
		}
		if r := found.Runs[0]; r.Chunk != 4 || r.Owner != "w" || r.Since < found.Created {
			t.Errorf("running: %+v", r)
		}
		for _, r := range found.Runs[1:] {
			if r.Owner != "" || r.Saved != 3-r.Chunk || r.Deaths != r.Chunk-2 {
				t.Errorf("chunk 2 was given back with a call, the worker of chunk 3 died: %+v", r)
			}
		}
	})
}
