package record_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// usualJob is the commonest one: a single call, and nothing special about it.
func usualJob() record.Job {
	return record.Job{
		ID: "q/j", Task: "square", Codec: "json", Reply: "reply", Calls: 1, Chunks: 1, Sealed: true,
		OpenTTL: openTTL, ResultTTL: time.Hour,
	}
}

// submitJob submits j by the merged script, as the only job of its queue.
func submitJob(t *testing.T, rdb redis.UniversalClient, j record.Job) {
	t.Helper()
	e := enqueue(t, rdb, "template", j.ID)
	const prefix = "asynq:{q}:"
	op, ok := record.Create(j, chunks(0, 1)).Submit(record.Submission{
		Queue: "q", Keys: []string{prefix + "t:" + taskID(j.ID), prefix + "pending"}, TaskID: taskID(j.ID), Msg: e.args[0], Now: e.args[2],
	})
	if !ok {
		t.Fatal("it is not merged")
	}
	if n, err := op.Run(t.Context(), rdb).Int(); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}

func TestTheUsualJobStoresOnlyWhatIsItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		submitJob(t, rdb, usualJob())
		got := slices.Sorted(maps.Keys(rdb.HGetAll(t.Context(), record.Keys("q/j")[0]).Val()))
		if want := []string{"args", "created", "inline", "reply", "state", "task"}; !slices.Equal(got, want) {
			t.Errorf("its hash has the fields %v, want %v", got, want)
		}
	})
}

// Records of programs that stored everything are still there after an upgrade.
func TestAShortRecordIsReadAsOneThatLeavesNothingOut(t *testing.T) {
	unusual := usualJob()
	unusual.Codec, unusual.ResultTTL, unusual.Calls = "gob", time.Minute, 7
	for name, j := range map[string]record.Job{"usual": usualJob(), "unusual": unusual} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
				key := record.Keys("q/j")[0]
				look := func() string {
					t.Helper()
					s, err := record.Read(t.Context(), rdb, "q/j")
					if err != nil {
						t.Fatal(err)
					}
					cmd := record.QueueOverview(t.Context(), rdb, "q/j")
					o, err := record.ParseOverview("q/j", cmd)
					if err != nil {
						t.Fatal(err)
					}
					b, err := record.Begin(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, "w", "w", 3)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := record.Release(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, "w", nil, 0); err != nil {
						t.Fatal(err)
					}
					o.Begun, s.Running = 0, 0
					return fmt.Sprintf("%+v\n%+v\n%+v", s, o, b)
				}
				fetched := func() string {
					t.Helper()
					ds := fetch(t, rdb, "q", 1, 0)
					if len(ds) != 1 || ds[0].Begun == nil {
						t.Fatalf("fetched %+v, want a chunk that was begun", ds)
					}
					if err := record.GiveBack(t.Context(), rdb, "w", ds); err != nil {
						t.Fatal(err)
					}
					return fmt.Sprintf("%+v", *ds[0].Begun)
				}
				end := func() time.Duration {
					t.Helper()
					if res, err := record.Record(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, []byte("0 1 0\n[1]"), 1, 0, 100); err != nil || res != record.OK {
						t.Fatal(res, err)
					}
					return rdb.PTTL(t.Context(), key).Val().Round(time.Minute)
				}
				submitJob(t, rdb, j)
				short, shortFetch := look(), fetched()
				// As create stores it.
				err := rdb.HSet(t.Context(), key, "v", 1, "codec", j.Codec, "calls", j.Calls, "ttl", j.ResultTTL.Milliseconds(), "big", 1).Err()
				if err != nil {
					t.Fatal(err)
				}
				if full := look(); full != short {
					t.Errorf("a short record reads\n%s\nand one that leaves nothing out\n%s", short, full)
				}
				if full := fetched(); full != shortFetch {
					t.Errorf("of a short record a fetch begins\n%s\nand of one that leaves nothing out\n%s", shortFetch, full)
				}
				// As an older program's submit stored it, which cannot read what is large.
				if err := rdb.HDel(t.Context(), key, "big").Err(); err != nil {
					t.Fatal(err)
				}
				for _, begun := range []string{look(), fetched()} {
					if !strings.Contains(begun, "Big:false") || !strings.Contains(short, "Big:true") {
						t.Errorf("an older program's job is begun as\n%s\nand a short one as\n%s", begun, short)
					}
				}
				if ttl := end(); ttl != j.ResultTTL {
					t.Errorf("the full record is kept for %v, want %v", ttl, j.ResultTTL)
				}
				if err := rdb.Del(t.Context(), key, "asynq:{q}:t:j:0:1", "asynq:{template}:t:j:0:1").Err(); err != nil {
					t.Fatal(err)
				}
				submitJob(t, rdb, j)
				if ttl := end(); ttl != j.ResultTTL {
					t.Errorf("the short record is kept for %v, want %v", ttl, j.ResultTTL)
				}
			})
		})
	}
}
