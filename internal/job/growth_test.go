package job

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/redistest"
)

// crowded is a Redis with a queue in which many single calls wait: c0, c1, ...
func crowded(t *testing.T, calls int) redis.UniversalClient {
	t.Helper()
	rdb := redistest.Start(t).Client(t)
	for from := 0; from < calls; from += 200 {
		entries := make([]Submission, 200)
		for i := range entries {
			entries[i] = newCall(lane, fmt.Sprint("c", from+i))
		}
		submit(t, rdb, Sealed, entries...)
	}
	return rdb
}

// spent is how many us each command took Redis since the statistics were reset.
func spent(t *testing.T, rdb redis.UniversalClient) map[string]int {
	t.Helper()
	info, err := rdb.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		var calls, us int
		if _, err := fmt.Sscanf(rest, "calls=%d,usec=%d", &calls, &us); ok && err == nil {
			counts[name] = us
		}
	}
	return counts
}

// Commands that search the list would take Redis time in proportion to its length.
func TestCancelingInALongQueueSearchesNoList(t *testing.T) {
	const calls = 40_000
	rdb := crowded(t, calls)
	if err := rdb.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	canceled := map[string]bool{}
	for _, i := range []int{0, 7, 199, 12_345, 19_999, 20_000, 27_777, 39_999} {
		ref := Ref{Name: fmt.Sprint("c", i)}
		canceled[Delivery{ref, 0, 1}.TaskID()] = true
		if err := Withdraw(t.Context(), rdb, lane, Unwanted{ref, []int{0}}); err != nil {
			t.Fatal(err)
		}
	}
	// A few looks into the list take longer than removing its first entry, and less long than one search.
	if us := spent(t, rdb); us["lrem"]+us["lpos"] > us["lrange"] {
		t.Errorf("%d deliveries were removed from among %d, and the commands took %v us", len(canceled), calls, us)
	}
	left := rdb.LRange(t.Context(), asynqfmt.PendingKey(lane), 0, -1).Val()
	seen := map[string]bool{}
	for _, id := range left {
		if canceled[id] {
			t.Errorf("%s is pending", id)
		}
		seen[id] = true
	}
	if len(seen) != calls-len(canceled) || len(left) != len(seen) {
		t.Errorf("%d deliveries are left, %d of them different; want %d", len(left), len(seen), calls-len(canceled))
	}
	for id := range canceled {
		if n := rdb.Exists(t.Context(), asynqfmt.TaskKey(lane, id)).Val(); n != 0 {
			t.Errorf("the task %s is left", id)
		}
	}
}

// The newest deliveries take the places of those that go, so the times of the others tell no more
// than before, and a second sweep finds what it looks for as fast.
func TestCancelingKeepsTheOrderOfTimes(t *testing.T) {
	rdb := crowded(t, 2000)
	for i := 200; i < 1800; i += 3 {
		if err := Withdraw(t.Context(), rdb, lane, Unwanted{Ref{Name: fmt.Sprint("c", i)}, []int{0}}); err != nil {
			t.Fatal(err)
		}
	}
	newer := "9"
	for _, id := range rdb.LRange(t.Context(), asynqfmt.PendingKey(lane), 0, -1).Val() {
		since := rdb.HGet(t.Context(), asynqfmt.TaskKey(lane, id), "pending_since").Val()
		if since > newer {
			t.Fatalf("%s is pending since %s, and stands behind one since %s", id, since, newer)
		}
		newer = since
	}
}

func TestADeliveryThatLiesAboutItsTimeIsWithdrawn(t *testing.T) {
	rdb := crowded(t, 3000)
	for i, since := range []any{"", 1, time.Now().Add(time.Hour).UnixNano(), "x"} {
		ref := Ref{Name: fmt.Sprint("c", 500+500*i)}
		rdb.HSet(t.Context(), asynqfmt.TaskKey(lane, Delivery{ref, 0, 1}.TaskID()), "pending_since", since)
		if err := Withdraw(t.Context(), rdb, lane, Unwanted{ref, []int{0}}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.LLen(t.Context(), asynqfmt.PendingKey(lane)).Val(); n != int64(2999-i) {
			t.Errorf("pending since %q: %d deliveries are left, want %d", since, n, 2999-i)
		}
	}
}

// Redis frees what expires at once, and does nothing else meanwhile: 0.4 s for a million fields.
func TestManyChunksAreFreedInTheBackground(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	open := New(Job{Ref: Ref{Name: "grown"}, About: "1 square", Pool: "pool", Calls: 600, Chunks: 600, Open: true, Life: time.Hour, TTL: time.Minute}, someChunks(lane, "grown", 0, 600))
	submit(t, rdb, Open, open)
	for n := 600; n < 12_000; n += 600 {
		submit(t, rdb, Open, Add(Ref{Name: "grown"}, n+600, n+600, false, 0, someChunks(lane, "grown", n, 600)))
	}
	submit(t, rdb, Sealed, newMap(lane, "few", 100, false))
	lives := func(name string) time.Duration { return rdb.PTTL(t.Context(), Key(lane, name)).Val() }
	noted := func() string { return strings.Join(rdb.SMembers(t.Context(), Prefix(lane)+"large").Val(), " ") }
	if noted() != "grown" || lives("grown") <= time.Hour || lives("few") > time.Hour {
		t.Errorf("%q is noted as large; it lives for %v, the small one for %v; want an hour and some, and an hour", noted(), lives("grown"), lives("few"))
	}
	if _, err := Cancel(t.Context(), rdb, lane, "enough", Ref{Name: "grown"}, Ref{Name: "few"}); err != nil {
		t.Fatal(err)
	}
	if lives("grown") <= time.Minute || lives("grown") > 2*time.Minute || lives("few") > time.Minute {
		t.Errorf("canceled, the large job lives for %v, the small one for %v; want a minute and some, and a minute", lives("grown"), lives("few"))
	}
	remove := func() {
		if err := RemoveOutlived(t.Context(), rdb, lane); err != nil {
			t.Fatal(err)
		}
	}
	if remove(); noted() != "grown" || lives("grown") < 0 {
		t.Error("its record was removed before its time")
	}
	rdb.PExpire(t.Context(), Key(lane, "grown"), lives("grown")-time.Minute) // a minute later
	if remove(); noted() != "" || rdb.Exists(t.Context(), Key(lane, "grown"), Key(lane, "few")).Val() != 1 {
		t.Error("its record is there after its time")
	}
}

func TestNothingIsNotedOfAForgottenLargeJob(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	submit(t, rdb, Open, newMap(lane, "j", 600, true))
	submit(t, rdb, Sealed, Add(Ref{Name: "j"}, 10_001, 10_001, true, 0, someChunks(lane, "j", 600, 9401)))
	if n := rdb.SCard(t.Context(), Prefix(lane)+"large").Val(); n != 1 {
		t.Fatalf("%d large jobs are noted, want 1", n)
	}
	if _, err := Forget(t.Context(), rdb, lane, Ref{Name: "j"}); err != nil {
		t.Fatal(err)
	}
	if all := keys(t, rdb, "distpool:*"); len(all) > 0 {
		t.Errorf("%q are left", all)
	}
}
