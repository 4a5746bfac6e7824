package job

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func overview(t *testing.T, rdb redis.UniversalClient, name string) Overview {
	t.Helper()
	o, err := ParseOverview(name, QueueOverview(t.Context(), rdb, lane, name))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// failing is a recording of a call that failed.
func failing(taken Taken, slow time.Duration) Finished {
	return Record(taken.Delivery, Outcomes{Frame: []byte("x"), Calls: 1, Failed: 1, SlowCall: taken.Chunk, SlowTook: slow, Message: message(lane, taken.TaskID)})
}

func TestOverviewSaysWhenACallBegan(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		if o := overview(t, rdb, "j"); o.Begun != 0 || o.Owner != "" || o.State != Sealed || o.TTL != time.Minute || o.About.Task != "square" {
			t.Errorf("waiting: %+v", o)
		}
		taken := take(t, rdb, 1)
		running := overview(t, rdb, "j")
		if running.Owner != worker || running.Begun < running.Created || running.Begun == 0 || running.Running != 1 {
			t.Errorf("running: %+v", running)
		}
		finish(t, rdb, OK, failing(taken[0], 5*time.Second))
		o := overview(t, rdb, "j")
		if o.State != Done || o.Recorded != 1 || o.Done != 1 || o.Failed != 1 || o.Out != nil || o.Owner != "" || o.Begun != running.Begun {
			t.Errorf("done: %+v, begun at %d", o, running.Begun)
		}
		if want := []SlowCall{{0, 5 * time.Second, worker}}; !slices.Equal(o.Slow, want) {
			t.Errorf("slow are %v, want %v", o.Slow, want)
		}
		if o := overview(t, rdb, "none"); o.State != Gone {
			t.Errorf("no job: %+v", o)
		}
	})
}

func TestChunksStandAsTheirTransitionsLeftThem(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newMap(lane, "m", 6, false))
		taken := take(t, rdb, 5)
		finish(t, rdb, OK, done(taken[0]), failing(taken[1], 0), Return(taken[2].Delivery, []byte("part"), 1, Tail, message(lane, taken[2].TaskID)))
		again := Reissue{Delivery: Delivery{taken[3].Ref, 3, 2}, Owner: worker, Died: true, Old: taken[3].TaskID, Message: message(lane, "m:3:2")}
		if _, err := ReissueAll(t.Context(), rdb, lane, again); err != nil {
			t.Fatal(err)
		}
		stands, ok, err := Standing(t.Context(), rdb, lane, "m", 100)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		want := map[int]Stand{0: HasValues, 1: HasFailed, 2: GivenBack, 3: GivenBack, 4: IsRun, 5: Waits}
		for k := range 6 {
			if stands[k] != want[k] {
				t.Errorf("chunk %d stands as %q, want %q", k, stands[k], want[k])
			}
		}
		some, err := Stands(t.Context(), rdb, lane, "m", []int{5, 4, 3, 1, 0}, false)
		if err != nil || !slices.Equal(some, []Stand{Waits, Waits, Waits, HasFailed, HasValues}) {
			t.Errorf("chunks 5, 4, 3, 1, 0 stand as %q, %v", some, err)
		}
		if _, ok, err := Standing(t.Context(), rdb, lane, "m", 10); ok || err != nil {
			t.Errorf("a record with too many fields is read: %t, %v", ok, err)
		}
		runs, err := Runs(t.Context(), rdb, lane, "m", []int{2, 3, 4})
		if err != nil || len(runs) != 3 {
			t.Fatal(runs, err)
		}
		if r := runs[0]; r.Owner != "" || r.Saved != 1 || r.Deaths != 0 {
			t.Errorf("given back: %+v", r)
		}
		if r := runs[1]; r.Owner != "" || r.Deaths != 1 {
			t.Errorf("its worker died: %+v", r)
		}
		if r := runs[2]; r.Owner != worker || r.Since < overview(t, rdb, "m").Created {
			t.Errorf("running: %+v", r)
		}
	})
}
