package job

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

func TestLanesDivideTheSlotsEvenly(t *testing.T) {
	for _, queue := range []string{"distpool", "q", "a/long:name.of-a_queue"} {
		for n := 1; n <= MaxLanes; n++ {
			lanes := Lanes(queue, n)
			if lanes[0] != queue || len(lanes) != n {
				t.Fatalf("%d lanes of %s: %q", n, queue, lanes)
			}
			at := make([]int, n)
			for i, lane := range lanes {
				at[i] = Slot(lane)
			}
			slices.Sort(at)
			for i := range at {
				gap := (at[(i+1)%n] - at[i] + slots) % slots
				if n > 1 && (gap < slots/n-2*tolerance-1 || gap > slots/n+2*tolerance+1) {
					t.Errorf("%d lanes of %s: %d slots from one to the next, want about %d", n, queue, gap, slots/n)
				}
			}
			if 2*n <= MaxLanes {
				for _, lane := range lanes {
					if !slices.Contains(Lanes(queue, 2*n), lane) {
						t.Errorf("lane %s of %d is not among %d", lane, n, 2*n)
					}
				}
			}
		}
	}
}

func TestSlotsAreThoseOfRedis(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		if _, ok := rdb.(*redis.ClusterClient); !ok {
			t.Skip("only a Cluster tells")
		}
		for _, tag := range []string{"", "123456789", "distpool", "distpool~17"} {
			if want := rdb.ClusterKeySlot(t.Context(), tag).Val(); int64(Slot(tag)) != want {
				t.Errorf("the slot of %q is %d, want %d", tag, Slot(tag), want)
			}
		}
	})
}

func TestNamesOfJobsPickTheirLane(t *testing.T) {
	lanes := Lanes("q", 3)
	counts := map[string]int{}
	for _, name := range strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
		counts[LaneOf(lanes, name)]++
	}
	for _, lane := range lanes {
		if counts[lane] < 3 {
			t.Errorf("lane %s gets %d of 26 jobs: %v", lane, counts[lane], counts)
		}
	}
	if got := LaneOf(lanes, "a"); got != lanes[0] {
		t.Errorf("job a is in lane %s, where older programs looked in %s", got, lanes[0])
	}
	if got := LaneOf(lanes[:1], "a"); got != "q" {
		t.Errorf("job a of a queue with one lane is in %s", got)
	}
}

func TestTaskIDsNameOneDelivery(t *testing.T) {
	for _, d := range []Delivery{{Ref{Name: "a"}, 0, 1}, {Ref{"a.b-c_d", "GEN"}, 12, 34}, {Ref{Name: "1"}, 1, 1}} {
		if got, ok := ParseTaskID(d.TaskID()); !ok || got != d {
			t.Errorf("%s is %+v, %v; want %+v", d.TaskID(), got, ok, d)
		}
	}
	for _, bad := range []string{"", "a", "a:1", "a:0:0", "a:-1:1", "a:01:1", "a:1:1:1", "a:1:x", "a~:1:1", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		if d, ok := ParseTaskID(bad); ok {
			t.Errorf("%q is %+v", bad, d)
		}
	}
}

func TestDescriptionsAreReadAsTheyAreWritten(t *testing.T) {
	for _, a := range []About{
		{Task: "square", Codec: "json"},
		{Task: "a/b:c", Codec: "gob", Policy: `{"attempts":3}`, Headers: []byte(`{"trace":"x"}`), Start: 5, Sum: "s", Cut: "~20", Sig: "sig"},
	} {
		s, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseAbout(s)
		if err != nil || got.Task != a.Task || got.Codec != a.Codec || got.Policy != a.Policy || string(got.Headers) != string(a.Headers) || got.Sig != a.Sig {
			t.Errorf("%q is %+v, %v; want %+v", s, got, err, a)
		}
	}
	if s, _ := (About{Task: "square", Codec: "json"}).Encode(); s != "1 square" {
		t.Errorf("the usual description is %q", s)
	}
	for _, bad := range []string{"", "1", "2 square", "square", "1 square\n{"} {
		if _, err := ParseAbout(bad); !IsDamaged(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A queue gets more lanes: old jobs stay in theirs, and are found there.
func TestAQueueCanGetMoreLanes(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		if _, ok := rdb.(*redis.ClusterClient); !ok {
			if err := NewRouter(rdb).SetLanes(t.Context(), "grows", 6); err == nil {
				t.Error("a queue that is in one slot got lanes")
			}
			return
		}
		lanes := func(want int) []string {
			t.Helper()
			all, err := NewRouter(rdb).Lanes(t.Context(), "grows")
			if err != nil || len(all) != want {
				t.Fatalf("the lanes are %q, %v; want %d", all, err, want)
			}
			return all
		}
		old := lanes(3)
		name := "j" // a job that six lanes have elsewhere
		for i := 0; LaneOf(Lanes("grows", 3), name) == LaneOf(Lanes("grows", 6), name); i++ {
			name = fmt.Sprint("j", i)
		}
		lane := LaneOf(old, name)
		if err := rdb.HSet(t.Context(), Key(lane, name), "about", "1 square").Err(); err != nil {
			t.Fatal(err)
		}
		if err := NewRouter(rdb).SetLanes(t.Context(), "grows", 6); err != nil {
			t.Fatal(err)
		}
		lanes(3)                     // until each Router has read the number
		gone := Lanes("grows", 6)[1] // five have another one there
		if slices.Contains(Lanes("grows", 5), gone) {
			t.Fatalf("lane %q stays", gone)
		}
		for _, key := range []string{asynqfmt.PendingKey(gone), asynqfmt.ActiveKey(gone)} {
			rdb.LPush(t.Context(), key, "x")
			if err := NewRouter(rdb).SetLanes(t.Context(), "grows", 5); err == nil || !strings.Contains(err.Error(), gone) {
				t.Errorf("lane %s with a delivery was taken away: %v", gone, err)
			}
			rdb.Del(t.Context(), key)
		}
		for _, key := range []string{asynqfmt.ScheduledKey(gone), asynqfmt.RetryKey(gone)} {
			rdb.ZAdd(t.Context(), key, redis.Z{Member: "x"})
			if err := NewRouter(rdb).SetLanes(t.Context(), "grows", 5); err == nil || !strings.Contains(err.Error(), gone) {
				t.Errorf("lane %s with a delivery was taken away: %v", gone, err)
			}
			rdb.Del(t.Context(), key)
		}
		if err := rdb.HSet(t.Context(), lanesKey, "grows", "6@1 3@0").Err(); err != nil { // half a minute later
			t.Fatal(err)
		}
		lanes(6)
		r := NewRouter(rdb)
		if got, err := r.Find(t.Context(), "grows", name); err != nil || got != lane {
			t.Errorf("job %s is found in lane %q, %v; want %q", name, got, err, lane)
		}
		if got, err := r.Lane(t.Context(), "grows", name); err != nil || got != LaneOf(Lanes("grows", 6), name) {
			t.Errorf("a new job %s goes to lane %q, %v", name, got, err)
		}
		if err := NewRouter(rdb).SetLanes(t.Context(), "grows", 3); err != nil {
			t.Fatal(err)
		}
		lanes(6) // those that go stay known
		if text := rdb.HGet(t.Context(), lanesKey, "grows").Val(); !strings.HasPrefix(text, "3@") || !strings.HasSuffix(text, " 6@1 3@0") {
			t.Errorf("the numbers of lanes are %q", text)
		}
	})
}
