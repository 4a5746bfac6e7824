package record_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestHeldChunksAreCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		running := func(when string, want int) {
			t.Helper()
			if s := read(t, rdb); s.Running != want {
				t.Errorf("%s: %d chunks are held, want %d", when, s.Running, want)
			}
		}
		create(t, rdb, job(6, 3, true), chunks(0, 3))
		running("created", 0)
		begin(t, rdb, 0, "w1", "", record.Run)
		begin(t, rdb, 1, "w1", "", record.Run)
		running("two begun", 2)
		begin(t, rdb, 1, "w2", "w1", record.Run)
		begin(t, rdb, 1, "w2", "w2", record.Run) // a reply that was lost
		running("one taken over", 2)
		next := subscribe(t, rdb, "reply")
		if _, err := record.Checkpoint(t.Context(), rdb, record.Ref{ID: "q/j"}, 1, "w2", []byte("p"), 1); err != nil {
			t.Fatal(err)
		}
		if n := nextNotice(t, next); n.Running != 2 {
			t.Errorf("a checkpoint says that %d chunks are held, want 2", n.Running)
		}
		if _, err := record.Release(t.Context(), rdb, record.Ref{ID: "q/j"}, 1, "w2", nil, 0); err != nil {
			t.Fatal(err)
		}
		running("one given back", 1)
		rec(t, rdb, 1, "o", 0, record.OK) // by its last owner: it is nobody's now
		if n := nextNotice(t, next); n.Running != 1 {
			t.Errorf("a recording says that %d chunks are held, want 1", n.Running)
		}
		rec(t, rdb, 0, "o", 0, record.OK)
		rec(t, rdb, 0, "o", 0, record.AlreadyRecorded)
		running("two recorded", 0)
		begin(t, rdb, 2, "w1", "", record.Run)
		running("the last one begun", 1)
		if _, err := record.Cancel(t.Context(), rdb, "q/j", "enough"); err != nil {
			t.Fatal(err)
		}
		running("canceled", 0)

		rdb.Del(t.Context(), record.Keys("q/j")...)
		create(t, rdb, job(2, 1, true), chunks(0, 1))
		running("inline, created", 0)
		begin(t, rdb, 0, "w1", "", record.Run)
		running("inline, begun", 1)
		if n := rdb.HExists(t.Context(), record.Keys("q/j")[0], "running").Val(); n {
			t.Error("an inline job pays for a counter")
		}
		if _, err := record.Release(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, "w1", nil, 0); err != nil {
			t.Fatal(err)
		}
		running("inline, given back", 0)
	})
}
