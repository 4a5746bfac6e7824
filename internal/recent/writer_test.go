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

func unsent(l *Writer) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.unsent)
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
	eventually(t, "the list is refused", func() bool { return unsent(l) == 1 })
	l.Note(Listed{ID: "q/B", Task: "square", Queue: "q", Single: false})
	full(t, rdb, false)
	eventually(t, "both are listed", func() bool { return len(listed(t, rdb)) == 2 })
	full(t, rdb, true)
	l.Note(Listed{ID: "q/C", Task: "square", Queue: "q", Single: true})
	eventually(t, "the list is refused again", func() bool { return unsent(l) == 1 })
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
	l.armed = true // no flush but the last
	const each, rounds = 3, mostUnsent + 2
	for i := range rounds {
		b := &Batch{}
		for k := range each {
			b.Add(Listed{ID: fmt.Sprintf("J%d-%d", i, k), Task: "square", Queue: "q", Single: true})
		}
		l.keep([]*Batch{b})
	}
	if n := unsent(l); n != mostUnsent {
		t.Errorf("%d batches wait, want %d", n, mostUnsent)
	}
	l.Stop()
	if ids := listed(t, rdb); len(ids) != each*mostUnsent {
		t.Errorf("%d jobs are listed, want %d", len(ids), each*mostUnsent)
	}
	if n := counts(t, rdb).Unlisted; n != each*(rounds-mostUnsent) {
		t.Errorf("%d jobs count as unlisted, want %d", n, each*(rounds-mostUnsent))
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
	if n := unsent(l); n != 0 {
		t.Errorf("%d batches wait for a right that is not there", n)
	}
	if n := admin.Do(t.Context(), "ACL", "LOG").Val(); len(n.([]any)) != 1 {
		t.Errorf("ACL LOG has %v, want one entry: the list was not tried", n)
	}
	l.Stop()
}
