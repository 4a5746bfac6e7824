package lanes

import (
	"slices"
	"strings"
	"testing"
)

func TestLanesDivideTheSlotsEvenly(t *testing.T) {
	for _, queue := range []string{"distpool", "q", "a/long:name.of-a_queue"} {
		for n := 1; n <= Most; n++ {
			lanes := Names(queue, n)
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
			if 2*n <= Most {
				for _, lane := range lanes {
					if !slices.Contains(Names(queue, 2*n), lane) {
						t.Errorf("lane %s of %d is not among %d", lane, n, 2*n)
					}
				}
			}
		}
	}
}

func TestSlotsAreThoseOfRedis(t *testing.T) {
	rdb := startCluster(t)
	for _, tag := range []string{"", "123456789", "distpool", "distpool~17"} {
		if want := rdb.ClusterKeySlot(t.Context(), tag).Val(); int64(Slot(tag)) != want {
			t.Errorf("the slot of %q is %d, want %d", tag, Slot(tag), want)
		}
	}
}

func TestNamesOfJobsPickTheirLane(t *testing.T) {
	lanes := Names("q", 3)
	counts := map[string]int{}
	for _, name := range strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
		counts[Of(lanes, name)]++
	}
	for _, lane := range lanes {
		if counts[lane] < 3 {
			t.Errorf("lane %s gets %d of 26 jobs: %v", lane, counts[lane], counts)
		}
	}
	if got := Of(lanes, "a"); got != lanes[0] {
		t.Errorf("job a is in lane %s, where older programs looked in %s", got, lanes[0])
	}
	if got := Of(lanes[:1], "a"); got != "q" {
		t.Errorf("job a of a queue with one lane is in %s", got)
	}
}
