package job

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

func TestDamagedRecordsHarmNoNeighbours(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "string"), newMap(lane, "map", 2, false), newCall(lane, "well"))
		rdb.Set(t.Context(), Key(lane, "string"), "x", time.Hour)
		rdb.HDel(t.Context(), Key(lane, "map"), "args:0")
		rdb.LPush(t.Context(), asynqfmt.PendingKey(lane), "no delivery of distpool")
		want := map[string]Verdict{"string:0:1": Damaged, "map:0:1": NoArgs, "map:1:1": Run, "well:0:1": Run, "no delivery of distpool": Damaged}
		taken := take(t, rdb, 10)
		for _, one := range taken {
			if one.Verdict != want[one.TaskID] {
				t.Errorf("%s: %s, want %s", one.TaskID, one.Verdict, want[one.TaskID])
			}
		}
		if len(taken) != len(want) {
			t.Fatalf("took %d deliveries, want %d", len(taken), len(want))
		}
		finish(t, rdb, BadJob, done(taken[0]))
		finish(t, rdb, OK, done(taken[3]))
	})
}

func TestTakeBoundsTheBytesOfArguments(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		cs := someChunks(lane, "m", 0, 4)
		for i := range cs {
			cs[i].Args = bytes.Repeat([]byte("x"), 400<<10)
		}
		submit(t, rdb, Sealed, New(Job{Ref: Ref{Name: "m"}, About: "1 square", Pool: "pool", Calls: 4, Chunks: 4, Life: time.Hour, TTL: time.Minute}, cs))
		if taken := take(t, rdb, 10); len(taken) != 3 {
			t.Fatalf("took %d chunks of 400 KiB with room for a MiB, want 3", len(taken))
		}
		if got := deliveries(t, rdb, "pending"); got != "m:3:1" {
			t.Fatalf("pending: %s", got)
		}
		if taken := take(t, rdb, 10); len(taken) != 1 || taken[0].Chunk != 3 {
			t.Fatalf("took %+v", taken)
		}
	})
}

func TestNothingIsTakenFromAPausedQueue(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "a"), newCall(lane, "b"))
		rdb.Set(t.Context(), asynqfmt.PausedKey(lane), 1, 0)
		id := rdb.LMove(t.Context(), asynqfmt.PendingKey(lane), asynqfmt.ActiveKey(lane), "RIGHT", "LEFT").Val()
		moved := Taking{Worker: worker, Most: 1, Room: 1 << 20, Moved: []string{id}, Now: time.Now()}
		taken, err := Take(t.Context(), rdb, lane, moved)
		if err != nil || len(taken) != 1 || taken[0].Verdict != Paused {
			t.Fatalf("took %+v, %v", taken, err)
		}
		if got := deliveries(t, rdb, "pending"); got != "a:0:1 b:0:1" {
			t.Fatalf("pending: %s", got)
		}
		rdb.Del(t.Context(), asynqfmt.PausedKey(lane))
		rdb.LMove(t.Context(), asynqfmt.PendingKey(lane), asynqfmt.ActiveKey(lane), "RIGHT", "LEFT")
		taken, err = Take(t.Context(), rdb, lane, moved)
		if err != nil || len(taken) != 2 || taken[0].Name != "a" {
			t.Fatalf("took %+v, %v", taken, err)
		}
		if n := rdb.ZCard(t.Context(), asynqfmt.LeaseKey(lane)).Val(); n != 2 {
			t.Fatalf("%d leases, want 2", n)
		}
	})
}

// A delivery that is on its way to a worker meanwhile is not put back for a job that is over.
func TestAPausedQueueGetsNothingBackOfCanceledJobs(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "a"))
		rdb.Set(t.Context(), asynqfmt.PausedKey(lane), 1, 0)
		id := rdb.LMove(t.Context(), asynqfmt.PendingKey(lane), asynqfmt.ActiveKey(lane), "RIGHT", "LEFT").Val()
		if _, err := Cancel(t.Context(), rdb, lane, "", Ref{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		taken, err := Take(t.Context(), rdb, lane, Taking{Worker: worker, Most: 1, Room: 1 << 20, Moved: []string{id}, Now: time.Now()})
		if err != nil || len(taken) != 1 || taken[0].Verdict == Paused {
			t.Fatalf("took %+v, %v", taken, err)
		}
		for _, key := range []string{asynqfmt.PendingKey(lane), asynqfmt.ActiveKey(lane), asynqfmt.LeaseKey(lane), asynqfmt.TaskKey(lane, id)} {
			if n := rdb.Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("%s is left", key)
			}
		}
	})
}

func TestLargeFramesLiveWithTheirJob(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		large := bytes.Repeat([]byte("x"), LargeFrame)
		frames := func() int { return len(keys(t, rdb, "distpool:{q}:frame:*")) }
		store := func(name string) []byte {
			t.Helper()
			ref, err := Store(t.Context(), rdb, lane, name, large)
			if err != nil || !IsReference(ref) {
				t.Fatalf("stored as %q, %v", ref, err)
			}
			if small, err := Store(t.Context(), rdb, lane, name, []byte("small")); err != nil || string(small) != "small" {
				t.Fatalf("stored as %q, %v", small, err)
			}
			return ref
		}
		call := func(name string, args []byte) Submission {
			cs := someChunks(lane, name, 0, 1)
			cs[0].Args = args
			return New(Job{Ref: Ref{Name: name}, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute}, cs)
		}
		submit(t, rdb, Unstored, call("j", []byte("@ NOSUCHTOKEN 65536")))
		if s := snapshot(t, rdb, "j"); s.State != Gone {
			t.Fatalf("a job without its arguments: %+v", s)
		}
		submit(t, rdb, Sealed, call("j", store("j")))
		taken := take(t, rdb, 1)
		args, err := Load(t.Context(), rdb, lane, "j", taken[0].Args)
		if err != nil || !bytes.Equal(args, large) {
			t.Fatalf("loaded %d bytes, %v", len(args), err)
		}
		finish(t, rdb, NoFrame, Record(taken[0].Delivery, Outcomes{Frame: []byte("@ NOSUCHTOKEN 65536"), Calls: 1}))
		if got := deliveries(t, rdb, "active"); got != "j:0:1" {
			t.Fatalf("active: %s; the recording was not made", got)
		}
		finish(t, rdb, OK, Record(taken[0].Delivery, Outcomes{Frame: store("j"), Calls: 1}))
		if n := frames(); n != 1 {
			t.Fatalf("%d large frames, want that of the outcomes", n)
		}
		if _, err := Load(t.Context(), rdb, lane, "j", taken[0].Args); !errors.Is(err, ErrFrameGone) {
			t.Fatalf("the arguments are %v", err)
		}
		for _, key := range keys(t, rdb, "distpool:*") {
			if ttl := rdb.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Minute+10*time.Second {
				t.Errorf("%s lives for %v", key, ttl)
			}
		}
		if _, err := Forget(t.Context(), rdb, lane, Ref{Name: "j"}); err != nil || frames() != 0 {
			t.Fatalf("%d large frames are left, %v", frames(), err)
		}
	})
}

// TestCountsThatContradictTheChunksAreDamage records what there is of a job of three chunks.
func TestCountsThatContradictTheChunksAreDamage(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, damage := range map[string][2]string{
			"more-chunks": {"chunks", "5"}, "fewer-chunks": {"chunks", "2"}, "no-chunks": {"chunks", "0"},
			"one-recorded": {"recorded", "1"}, "two-recorded": {"recorded", "2"}, "all-recorded": {"recorded", "3"},
		} {
			submit(t, rdb, Sealed, newMap(lane, name, 3, false))
			rdb.HSet(t.Context(), Key(lane, name), damage[0], damage[1])
			found := false
			for _, one := range take(t, rdb, 3) {
				answers, err := Finish(t.Context(), rdb, lane, Finishing{Worker: worker, Now: time.Now()}, []Finished{done(one)})
				if err != nil {
					t.Fatal(err)
				}
				found = found || answers[0] == BadJob
			}
			if state := rdb.HGet(t.Context(), Key(lane, name), "state").Val(); !found || state != "" {
				t.Errorf("%s: found %t, the state is %q", name, found, state)
			}
		}
	})
}
