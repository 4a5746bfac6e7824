package job

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// Tests of what is sent twice, since a reply was lost, and of deliveries that asynq moves.

func TestATakeSentTwiceRunsTheDelivery(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		rdb.LMove(t.Context(), asynqfmt.PendingKey(lane), asynqfmt.ActiveKey(lane), "RIGHT", "LEFT")
		for range 2 {
			taken, err := Take(t.Context(), rdb, lane, Taking{Worker: worker, Room: 1 << 20, Moved: []string{"j:0:1"}, Now: time.Now()})
			if err != nil || len(taken) != 1 || taken[0].Verdict != Run {
				t.Fatalf("took %+v, %v", taken, err)
			}
		}
		if got := deliveries(t, rdb, "active"); got != "j:0:1" {
			t.Fatalf("active: %s", got)
		}
	})
}

func TestAReturnSentTwiceLeavesTheNextOwnerAlone(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		taken := take(t, rdb, 1)
		back := Return(taken[0].Delivery, nil, 0, Head, asynqMessage(lane, "j:0:1"))
		finish(t, rdb, OK, back)
		next, err := Take(t.Context(), rdb, lane, Taking{Worker: "worker-2", Most: 1, Room: 1 << 20, Now: time.Now()})
		if err != nil || len(next) != 1 {
			t.Fatalf("took %+v, %v", next, err)
		}
		finish(t, rdb, NotOwner, back)
		if got := deliveries(t, rdb, "active"); got != "j:0:1" {
			t.Fatalf("active: %q; the delivery of the next owner is gone", got)
		}
	})
}

func TestADeliveryThatAsynqTookAwayStaysVisible(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		d := take(t, rdb, 1)[0]
		// As asynq's recoverer does with a lease that is over.
		rdb.LRem(t.Context(), asynqfmt.ActiveKey(lane), 0, "j:0:1")
		rdb.ZAdd(t.Context(), asynqfmt.RetryKey(lane), redis.Z{Score: 1, Member: "j:0:1"})
		rdb.HSet(t.Context(), asynqfmt.TaskKey(lane, "j:0:1"), "state", "retry")
		if n, err := Forward(t.Context(), rdb, lane, time.Now()); err != nil || n != 1 {
			t.Fatalf("forwarded %d, %v", n, err)
		}
		if taken := take(t, rdb, 5); len(taken) != 0 {
			t.Fatalf("took %+v of a chunk that runs", taken)
		}
		if got := deliveries(t, rdb, "active"); got != "j:0:1" {
			t.Fatalf("active: %q; supervision cannot find the chunk if its owner dies", got)
		}
		finish(t, rdb, OK, done(d))
		if got := deliveries(t, rdb, "active"); got != "" {
			t.Fatalf("active: %q", got)
		}
	})
}

func TestAReturnWithoutADeliveryMakesOne(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		d := take(t, rdb, 1)[0]
		rdb.Del(t.Context(), asynqfmt.ActiveKey(lane), asynqfmt.TaskKey(lane, "j:0:1"))
		finish(t, rdb, OK, Return(d.Delivery, nil, 0, Tail, asynqMessage(lane, "j:0:1")))
		if taken := take(t, rdb, 1); len(taken) != 1 || taken[0].Verdict != Run {
			t.Fatalf("took %+v", taken)
		}
	})
}

func TestADeliveryThatWasIssuedAgainDoesNotRun(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		rdb.LMove(t.Context(), asynqfmt.PendingKey(lane), asynqfmt.ActiveKey(lane), "RIGHT", "LEFT")
		again := Reissue{Delivery: Delivery{Ref{Name: "j"}, 0, 2}, Old: "j:0:1", Task: "square"}
		if got, err := ReissueAll(t.Context(), rdb, lane, again); err != nil || got[0] != Reissued {
			t.Fatalf("reissue answers %v, %v", got, err)
		}
		taken, err := Take(t.Context(), rdb, lane, Taking{Worker: worker, Room: 1 << 20, Moved: []string{"j:0:1"}, Now: time.Now()})
		if err != nil || len(taken) != 1 || taken[0].Verdict != Stale {
			t.Fatalf("took %+v, %v", taken, err)
		}
		if n := rdb.Exists(t.Context(), asynqfmt.TaskKey(lane, "j:0:1")).Val(); n != 0 {
			t.Fatal("the old delivery has a hash again, without a time to live")
		}
		if taken := take(t, rdb, 1); len(taken) != 1 || taken[0].Number != 2 {
			t.Fatalf("took %+v", taken)
		}
	})
}

func TestSealingAJobWhoseChunksAreRecordedEndsIt(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		sub := rdb.Subscribe(t.Context(), ReplyChannel(lane, "pool"))
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		submit(t, rdb, Open, newMap(lane, "m", 2, true))
		for _, d := range take(t, rdb, 2) {
			finish(t, rdb, OK, done(d))
		}
		seal := Add(Ref{Name: "m"}, 2, 2, true, time.Hour, nil)
		submit(t, rdb, Done, seal)
		submit(t, rdb, Done, seal) // its reply was lost
		if ttl := rdb.PTTL(t.Context(), Key(lane, "m")).Val(); ttl > time.Minute {
			t.Errorf("the record lives for %v, want its TTL of a minute", ttl)
		}
		for {
			m, err := sub.ReceiveTimeout(t.Context(), 10*time.Second)
			if err != nil {
				t.Fatalf("no notice of the end: %v", err)
			}
			if m, ok := m.(*redis.Message); ok && strings.HasPrefix(m.Payload, "m  end -1 2 2 0 0 done ") {
				return
			}
		}
	})
}

func TestAddedChunksComeInTheirOrder(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Open, newMap(lane, "m", 1, true))
		second := Add(Ref{Name: "m"}, 2, 2, false, 0, someChunks(lane, "m", 1, 1))
		third := Add(Ref{Name: "m"}, 3, 3, false, 0, someChunks(lane, "m", 2, 1))
		submit(t, rdb, Gap, third)
		submit(t, rdb, Open, second, third, second)
		if s := snapshot(t, rdb, "m"); s.Calls != 3 || s.Chunks != 3 {
			t.Fatalf("%+v", s)
		}
		if got := deliveries(t, rdb, "pending"); got != "m:0:1 m:1:1 m:2:1" {
			t.Fatalf("pending: %s", got)
		}
	})
}

func TestASubmissionOfManyChunksIsWhole(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newMap(lane, "m", 9000, false))
		if n := rdb.LLen(t.Context(), asynqfmt.PendingKey(lane)).Val(); n != 9000 {
			t.Fatalf("%d of 9,000 deliveries are pending", n)
		}
	})
}

func TestLargeFramesOfAStreamLiveWithIt(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		refs, err := Store(t.Context(), rdb, lane, "m", bytes.Repeat([]byte("x"), LargeFrame))
		if err != nil {
			t.Fatal(err)
		}
		cs := someChunks(lane, "m", 0, 1)
		cs[0].Args = refs
		stream := New(Job{Ref: Ref{Name: "m"}, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Open: true, Life: 10 * time.Second, TTL: time.Minute}, cs)
		submit(t, rdb, Open, stream, Add(Ref{Name: "m"}, 2, 2, false, time.Hour, someChunks(lane, "m", 1, 1)))
		for _, key := range keys(t, rdb, "distpool:{q}:*") {
			if ttl := rdb.PTTL(t.Context(), key).Val(); ttl < 50*time.Minute {
				t.Errorf("%s lives for %v, and the stream for an hour", key, ttl)
			}
		}
		if err := Discard(t.Context(), rdb, lane, "m", refs, []byte("@ NOTADOPTED 65536")); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(t.Context(), rdb, lane, "m", refs); err != nil {
			t.Errorf("a frame of the job was discarded: %v", err)
		}
	})
}

func TestDamagedNumbersHarmNoNeighbours(t *testing.T) {
	for _, field := range []string{"expires", "recorded", "done", "failed", "running", "kept", "counted:0", "chunks", "ttl"} {
		t.Run(field, func(t *testing.T) {
			onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
				submit(t, rdb, Sealed, newMap(lane, "m", 2, false), newCall(lane, "well"))
				rdb.HSet(t.Context(), Key(lane, "m"), field, "x")
				var entries []Finished
				well := false
				for _, d := range take(t, rdb, 5) {
					well = well || d.Name == "well" && d.Verdict == Run
					entries = append(entries, Record(d.Delivery, Outcomes{Frame: []byte("out"), Calls: 1, Failed: 1}))
				}
				if !well {
					t.Fatal("the neighbour was not taken")
				}
				answers, err := Finish(t.Context(), rdb, lane, Finishing{Worker: worker, Now: time.Now()}, entries)
				if err != nil || answers[len(answers)-1] != OK {
					t.Fatalf("finish answers %v, %v; the last one is the neighbour's", answers, err)
				}
			})
		})
	}
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		rdb.Set(t.Context(), Key(lane, "string"), "x", time.Hour)
		states, err := Submit(t.Context(), rdb, lane, []Submission{
			newCall(lane, "well"), Add(Ref{Name: "string"}, 2, 2, false, 0, someChunks(lane, "string", 1, 1)),
		})
		if err != nil || fmt.Sprint(states) != "[sealed damaged]" {
			t.Fatalf("submit answers %v, %v", states, err)
		}
		if got := deliveries(t, rdb, "pending"); got != "well:0:1" {
			t.Fatalf("pending: %s", got)
		}
		if got, err := Cancel(t.Context(), rdb, lane, "", Ref{Name: "string"}); err != nil || got[0] != Broken {
			t.Fatalf("cancel answers %v, %v", got, err)
		}
		if got, err := Forget(t.Context(), rdb, lane, Ref{Name: "string"}); err != nil || got[0] != Broken || rdb.Exists(t.Context(), Key(lane, "string")).Val() != 0 {
			t.Fatalf("forget answers %v, %v", got, err)
		}
	})
}

func TestATaskThatIsNoDeliveryIsArchived(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := asynqfmt.Message{Type: "other", ID: "foreign", Queue: lane}
		rdb.HSet(t.Context(), asynqfmt.TaskKey(lane, "foreign"), "msg", m.Append(nil), "state", "pending")
		rdb.LPush(t.Context(), asynqfmt.PendingKey(lane), "foreign")
		taken := take(t, rdb, 1)
		if len(taken) != 1 || taken[0].Verdict != Damaged {
			t.Fatalf("took %+v", taken)
		}
		finish(t, rdb, OK, Dismiss(taken[0].TaskID, m.Append(nil)))
		if ids, err := Archived(t.Context(), rdb, lane, 0, 5); err != nil || fmt.Sprint(ids) != "[foreign]" {
			t.Fatalf("archived: %v, %v", ids, err)
		}
		if got := deliveries(t, rdb, "active"); got != "" {
			t.Fatalf("active: %s", got)
		}
	})
}
