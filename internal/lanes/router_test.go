package lanes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
)

func startCluster(t *testing.T) *redis.ClusterClient {
	t.Helper()
	var addrs []string
	for _, s := range redistest.StartCluster(t, 3) {
		addrs = append(addrs, s.Addr())
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// wantLanes fails unless the queue has so many lanes for a new Router, and returns them.
func wantLanes(t *testing.T, rdb redis.UniversalClient, queue string, want int) []string {
	t.Helper()
	all, err := NewRouter(rdb).Lanes(t.Context(), queue)
	if err != nil || len(all) != want {
		t.Fatalf("the lanes are %q, %v; want %d", all, err, want)
	}
	return all
}

func TestAQueueInOneSlotGetsNoLanes(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer rdb.Close()
	if err := NewRouter(rdb).SetLanes(t.Context(), "q", 6); err == nil || !strings.Contains(err.Error(), "no Cluster") {
		t.Errorf("six lanes on one Redis: %v", err)
	}
	wantLanes(t, rdb, "q", 1)
}

func TestAQueueHasLanesBeforeItsFirstNumbersCount(t *testing.T) {
	rdb := redis.NewClusterClient(&redis.ClusterOptions{}) // what it would read is known
	defer rdb.Close()
	r, soonMs := NewRouter(rdb), time.Now().Add(lanesAhead).UnixMilli()
	r.known["q"] = parseLayout("q", fmt.Sprintf("3@%d 2@%d", soonMs, soonMs-1))
	fresh, err := r.New(t.Context(), "q")
	if err != nil || len(fresh) != 2 {
		t.Fatalf("new jobs have the lanes %q, %v; want the 2 of the first number", fresh, err)
	}
}

func TestOldJobsAreFoundAfterLanesWereAdded(t *testing.T) {
	rdb := startCluster(t)
	old := wantLanes(t, rdb, "q", 3)
	name := "j" // a job that six lanes have elsewhere
	for i := 0; Of(Names("q", 3), name) == Of(Names("q", 6), name); i++ {
		name = fmt.Sprint("j", i)
	}
	lane := Of(old, name)
	if err := rdb.HSet(t.Context(), job.Key(lane, name), "about", "1 square").Err(); err != nil {
		t.Fatal(err)
	}
	if err := NewRouter(rdb).SetLanes(t.Context(), "q", 6); err != nil {
		t.Fatal(err)
	}
	wantLanes(t, rdb, "q", 3)                                                     // until each Router has read the number
	if err := rdb.HSet(t.Context(), lanesKey, "q", "6@1 3@0").Err(); err != nil { // half a minute later
		t.Fatal(err)
	}
	wantLanes(t, rdb, "q", 6)
	r := NewRouter(rdb)
	if got, err := r.Find(t.Context(), "q", name); err != nil || got != lane {
		t.Errorf("job %s is found in lane %q, %v; want %q", name, got, err, lane)
	}
	if got, err := r.Lane(t.Context(), "q", name); err != nil || got != Of(Names("q", 6), name) {
		t.Errorf("a new job %s goes to lane %q, %v", name, got, err)
	}
}

func TestALaneWithDeliveriesStays(t *testing.T) {
	rdb := startCluster(t)
	if err := rdb.HSet(t.Context(), lanesKey, "q", "6@0").Err(); err != nil {
		t.Fatal(err)
	}
	gone := Names("q", 6)[1] // five have another one there
	if slices.Contains(Names("q", 5), gone) {
		t.Fatalf("lane %q stays", gone)
	}
	refused := func() {
		t.Helper()
		if err := NewRouter(rdb).SetLanes(t.Context(), "q", 5); err == nil || !strings.Contains(err.Error(), gone) {
			t.Errorf("lane %s with a delivery was taken away: %v", gone, err)
		}
	}
	for _, key := range []string{asynqfmt.PendingKey(gone), asynqfmt.ActiveKey(gone)} {
		rdb.LPush(t.Context(), key, "x")
		refused()
		rdb.Del(t.Context(), key)
	}
	for _, key := range []string{asynqfmt.ScheduledKey(gone), asynqfmt.RetryKey(gone)} {
		rdb.ZAdd(t.Context(), key, redis.Z{Member: "x"})
		refused()
		rdb.Del(t.Context(), key)
	}
	if err := NewRouter(rdb).SetLanes(t.Context(), "q", 3); err != nil {
		t.Fatal(err)
	}
	wantLanes(t, rdb, "q", 6) // those that go stay known
	if text := rdb.HGet(t.Context(), lanesKey, "q").Val(); !strings.HasPrefix(text, "3@") || !strings.HasSuffix(text, " 6@0") {
		t.Errorf("the numbers of lanes are %q", text)
	}
}
