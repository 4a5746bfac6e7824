package job

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A job whose field ttl is no time to live ends like any other, and its record goes.
func TestADamagedTimeToLiveKeepsNoJobFromItsEnd(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, ttl := range []string{"", "x", "0", "-1", "1.5", "1e400", "-1e400", "nan", "9223372036854775807"} {
			for what, n := range map[string]int{"one call": 1, "a map": 2, "canceled": 2} {
				entry := newMap(lane, "j", n, false)
				if n == 1 {
					entry = newCall(lane, "j")
				}
				submit(t, rdb, Sealed, entry)
				if err := rdb.HSet(t.Context(), Key(lane, "j"), "ttl", ttl).Err(); err != nil {
					t.Fatal(err)
				}
				taken, want := take(t, rdb, n), Done
				if what == "canceled" {
					want = Canceled
					if s, err := Cancel(t.Context(), rdb, lane, "why", Ref{Name: "j"}); err != nil || s[0] != want {
						t.Errorf("ttl %q: cancel answers %q, %v", ttl, s, err)
					}
				} else {
					for _, one := range taken {
						finish(t, rdb, OK, done(one))
					}
				}
				if s := snapshot(t, rdb, "j"); s.State != want {
					t.Errorf("ttl %q, %s: the job is %s", ttl, what, s.State)
				}
				if left := rdb.PTTL(t.Context(), Key(lane, "j")).Val(); left > time.Hour || left <= 0 {
					t.Errorf("ttl %q, %s: it lives for %v", ttl, what, left)
				}
				if err := rdb.Del(t.Context(), Key(lane, "j")).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
