package job

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// waiting submits a job of chunks that wait in pending, and of some more that are for later.
func waiting(t *testing.T, rdb redis.UniversalClient, name string, pending, later int) Unwanted {
	t.Helper()
	cs := make([]Chunk, pending+later)
	u := Unwanted{Ref: Ref{Name: name}}
	for i := range cs {
		d := Delivery{u.Ref, i, 1}
		cs[i] = Chunk{Number: i, Args: []byte("x"), TaskID: d.TaskID(), Message: Message(lane, "square", d, "", time.Time{})}
		if i >= pending {
			cs[i].Due = time.Now().Add(time.Hour)
		}
		u.Chunks = append(u.Chunks, i)
	}
	submit(t, rdb, Sealed, New(Job{Ref: u.Ref, About: "1 square", Pool: "pool", Calls: len(cs), Chunks: len(cs), Life: time.Hour, TTL: time.Minute}, cs))
	return u
}

func TestWithdrawLeavesWhatIsNotOfTheJobs(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		waiting(t, rdb, "before", 700, 1)
		a := waiting(t, rdb, "a", 450, 3)
		waiting(t, rdb, "between", 30, 0)
		b := waiting(t, rdb, "b", 250, 0)
		waiting(t, rdb, "after", 1300, 2)
		if err := Withdraw(t.Context(), rdb, lane, a, b, Unwanted{Ref{Name: "gone"}, []int{0}}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.LLen(t.Context(), asynqfmt.PendingKey(lane)).Val(); n != 700+30+1300 {
			t.Errorf("%d deliveries are pending, want 2030", n)
		}
		for _, id := range strings.Fields(deliveries(t, rdb, "pending")) {
			if strings.HasPrefix(id, "a:") || strings.HasPrefix(id, "b:") {
				t.Fatalf("%s is pending", id)
			}
		}
		if later := rdb.ZRange(t.Context(), asynqfmt.ScheduledKey(lane), 0, -1).Val(); len(later) != 3 {
			t.Errorf("%q are scheduled, want 3 of other jobs", later)
		}
		if n := len(keys(t, rdb, "asynq:{q}:t:*")); n != 2030+3 {
			t.Errorf("%d tasks are left, want 2033", n)
		}
	})
}

func TestWithdrawLeavesTakenDeliveries(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		u := waiting(t, rdb, "j", 3, 0)
		taken := take(t, rdb, 2)
		finish(t, rdb, OK, PutOff(taken[1].Delivery, nil, 0, time.Now().Add(time.Hour), asynqMessage(lane, taken[1].TaskID)))
		if err := Withdraw(t.Context(), rdb, lane, u); err != nil {
			t.Fatal(err)
		}
		if active := deliveries(t, rdb, "active"); active != "j:0:1" || deliveries(t, rdb, "pending") != "" {
			t.Errorf("active is %q, pending %q; want j:0:1 and none", active, deliveries(t, rdb, "pending"))
		}
		if n := rdb.ZCard(t.Context(), asynqfmt.RetryKey(lane)).Val(); n != 0 {
			t.Errorf("%d deliveries wait in retry", n)
		}
	})
}

func TestFailedDeliveriesLeaveTheArchive(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, name := range []string{"j", "other"} {
			waiting(t, rdb, name, 150, 0)
			for _, d := range take(t, rdb, 150) {
				m := Message(lane, "square", d.Delivery, "no", time.Now())
				finish(t, rdb, OK, Record(d.Delivery, Outcomes{Frame: []byte("x"), Calls: 1, Failed: 1, Message: m}))
			}
		}
		// A task of another program, which looks like a delivery of the job.
		foreign := asynqfmt.Message{Type: "theirs", Payload: []byte("{}"), ID: "j:500:1", Queue: lane}
		rdb.HSet(t.Context(), asynqfmt.TaskKey(lane, foreign.ID), "msg", foreign.Append(nil), "state", "archived")
		rdb.ZAdd(t.Context(), asynqfmt.ArchivedKey(lane), redis.Z{Score: 1, Member: foreign.ID})
		found, err := WithdrawFailed(t.Context(), rdb, lane, map[Ref]int{{Name: "j"}: -1, {Name: "gone"}: 1})
		if err != nil || len(found) != 1 || found[Ref{Name: "j"}] != 150 {
			t.Errorf("found %v, %v; want 150 of j", found, err)
		}
		archived := rdb.ZRange(t.Context(), asynqfmt.ArchivedKey(lane), 0, -1).Val()
		if len(archived) != 151 || archived[0] != foreign.ID {
			t.Errorf("%d deliveries are in the archive, the first is %s; want 151, the first of them foreign", len(archived), archived[0])
		}
		if n := len(keys(t, rdb, "asynq:{q}:t:*")); n != 151 {
			t.Errorf("%d tasks are left, want 151", n)
		}
	})
}
