package record_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// A job whose field ttl is no time to live ends like any other, and its record goes.
func TestADamagedTimeToLiveKeepsNoJobFromItsEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, ttl := range []string{"", "x", "0", "-1", "1.5", "1e400", "-1e400", "nan", "9223372036854775807"} {
			for what, n := range map[string]int{"recorded inline": 1, "recorded": 2, "canceled": 2} {
				create(t, rdb, job(n, n, true), chunks(0, n))
				if err := rdb.HSet(t.Context(), record.Keys("q/j")[0], "ttl", ttl).Err(); err != nil {
					t.Fatal(err)
				}
				want := record.Done
				if what == "canceled" {
					want = record.Canceled
					if s, err := record.Cancel(t.Context(), rdb, "q/j", "why"); err != nil || s != want {
						t.Errorf("ttl %q: cancel answers %q, %v", ttl, s, err)
					}
				} else {
					for chunk := range n {
						rec(t, rdb, chunk, "o", 0, record.OK)
					}
				}
				if s := read(t, rdb); s.State != want {
					t.Errorf("ttl %q, %s: the job is %s", ttl, what, s.State)
				}
				for _, key := range record.Keys("q/j") {
					if left := rdb.PTTL(t.Context(), key).Val(); left > time.Hour || left == -1 {
						t.Errorf("ttl %q, %s: %s lives for %v", ttl, what, key, left)
					}
				}
				if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
