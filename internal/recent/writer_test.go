package recent

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

const patience = 30 * time.Second

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// full has Redis refuse whatever takes room.
func full(t *testing.T, rdb redis.UniversalClient, is bool) {
	t.Helper()
	limit := "0"
	if is {
		limit = "1"
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", limit).Err(); err != nil {
		t.Fatal(err)
	}
}

// listed are the IDs in the list of recent jobs.
func listed(t *testing.T, rdb redis.UniversalClient) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for l := NewLister(rdb, Position{}); ; {
		job, ok, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return ids
		}
		ids[job.ID] = true
	}
}

// waits reports whether a batch waits that Redis has not taken.
func waits(l *Writer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsent != nil
}

func counts(t *testing.T, rdb redis.UniversalClient) ListCounts {
	t.Helper()
	n, err := CountList(t.Context(), rdb)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestJobsAreListedOnceThereIsRoomForThem(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client(t)
	l := NewWriter(rdb)
	full(t, rdb, true)
	l.Note(Listed{ID: "q/A", Task: "square", Queue: "q", Single: true})
	eventually(t, "the list is refused", func() bool { return waits(l) })
	l.Note(Listed{ID: "q/B", Task: "square", Queue: "q", Single: false})
	full(t, rdb, false)
	eventually(t, "both are listed", func() bool { return len(listed(t, rdb)) == 2 })
	full(t, rdb, true)
	l.Note(Listed{ID: "q/C", Task: "square", Queue: "q", Single: true})
	eventually(t, "the list is refused again", func() bool { return waits(l) })
	full(t, rdb, false)
	l.Stop()
	if ids := listed(t, rdb); !ids["q/A"] || !ids["q/B"] || !ids["q/C"] {
		t.Errorf("listed are %v, want all three", ids)
	}
	if n := counts(t, rdb).Unlisted; n != 0 {
		t.Errorf("%d jobs count as unlisted, want none", n)
	}
}

func TestJobsThatWaitToBeListedAreBoundedAndCounted(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client(t)
	l := NewWriter(rdb)
	l.armed = true // no flush but those of the test
	full(t, rdb, true)
	const rounds, over = 2, 5
	for i := range rounds {
		for k := range batchJobs + over {
			l.Note(Listed{ID: fmt.Sprintf("q/J%d-%d", i, k), Task: "square", Queue: "q", Single: true})
		}
		if err := l.send(time.Now().Add(patience)); err == nil {
			t.Fatal("a Redis that is full has taken a batch")
		}
	}
	full(t, rdb, false)
	l.Stop()
	if ids := listed(t, rdb); len(ids) != rounds*batchJobs {
		t.Errorf("%d jobs are listed, want %d", len(ids), rounds*batchJobs)
	}
	if n := counts(t, rdb).Unlisted; n != rounds*over {
		t.Errorf("%d jobs count as unlisted, want %d", n, rounds*over)
	}
}

func TestAListThatIsForbiddenIsNotTriedForEver(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	admin := s.Client(t)
	for _, args := range [][]any{{"ACL", "SETUSER", "nolist", "on", ">secret", "~distpool:{q}:*", "+@all"}} {
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "nolist", Password: "secret"})
	defer rdb.Close()
	l := NewWriter(rdb)
	l.Note(Listed{ID: "q/A", Task: "square", Queue: "q", Single: true})
	l.flush()
	if waits(l) {
		t.Error("a batch waits for a right that is not there")
	}
	if n := admin.Do(t.Context(), "ACL", "LOG").Val(); len(n.([]any)) != 1 {
		t.Errorf("ACL LOG has %v, want one entry: the list was not tried", n)
	}
	l.Stop()
}
