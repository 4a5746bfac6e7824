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

func TestWhatIsDroppedIsToldWithTheReason(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "ended"), newCall(lane, "gone"), newCall(lane, "busy"))
		if _, err := Cancel(t.Context(), rdb, lane, "enough", Ref{Name: "ended"}); err != nil {
			t.Fatal(err)
		}
		if _, err := Forget(t.Context(), rdb, lane, Ref{Name: "gone"}); err != nil {
			t.Fatal(err)
		}
		rdb.HSet(t.Context(), Key(lane, "busy"), "own:0", "another 1 7")
		rdb.HSet(t.Context(), asynqfmt.TaskKey(lane, "busy:0:7"), "state", "active")
		taken, err := Take(t.Context(), rdb, lane, Taking{Worker: worker, Most: 9, Room: 1 << 20, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, one := range taken {
			got += fmt.Sprintf("%s %s %q, ", one.Name, one.Verdict, one.About)
		}
		if want := `ended ended "1 square", gone gone "", busy busy "1 square", `; got != want {
			t.Errorf("took %s; want %s", got, want)
		}
		if left := deliveries(t, rdb, "active"); left != "" {
			t.Errorf("active: %s", left)
		}
	})
}

// TestTheLastAttemptIsTakenTwice lets the worker wait, not as the owner, until nothing else runs.
func TestTheLastAttemptIsTakenTwice(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		for lost, want := range []Verdict{Run, Run, Alone, Run, Run, Alone} {
			name := fmt.Sprint("j", lost)
			submit(t, rdb, Sealed, newCall(lane, name))
			if lost > 0 {
				rdb.HSet(t.Context(), Key(lane, name), "lost:0", lost)
			}
			taking := Taking{Worker: worker, Most: 1, Room: 1 << 20, Now: time.Now(), Budget: 3}
			taken, err := Take(t.Context(), rdb, lane, taking)
			if err != nil || len(taken) != 1 || taken[0].Verdict != want {
				t.Fatalf("after %d deaths: took %+v, %v", lost, taken, err)
			}
			if want == Run {
				continue
			}
			if own := rdb.HGet(t.Context(), Key(lane, name), "own:0").Val(); own != "" {
				t.Errorf("it is owned by %s", own)
			}
			taking.Most, taking.Budget, taking.Moved = 0, 0, []string{taken[0].TaskID}
			taken, err = Take(t.Context(), rdb, lane, taking)
			if err != nil || len(taken) != 1 || taken[0].Verdict != Run || taken[0].Deaths != lost {
				t.Fatalf("the second time: %+v, %v", taken, err)
			}
		}
	})
}

func TestTakeTellsHowLongADeliveryWaited(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		time.Sleep(20 * time.Millisecond)
		taken, err := Take(t.Context(), rdb, lane, Taking{Worker: worker, Most: 1, Room: 1 << 20, Now: time.Now(), Waits: true})
		if err != nil || len(taken) != 1 || taken[0].Waited < 20*time.Millisecond || taken[0].Waited > time.Minute {
			t.Fatalf("took %+v, %v", taken, err)
		}
	})
}

func TestALostOwnerIsReplacedByTheWorkerThatRunsTheChunk(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		taken := take(t, rdb, 1)
		own := func() string { return rdb.HGet(t.Context(), Key(lane, "j"), "own:0").Val() }
		rdb.HDel(t.Context(), Key(lane, "j"), "own:0")
		save := func(part string) {
			t.Helper()
			got, err := Checkpoint(t.Context(), rdb, lane, worker, Saved{taken[0].Delivery, []byte(part), 0})
			if err != nil || got[0] != Sealed {
				t.Fatalf("the checkpoint answers %v, %v", got, err)
			}
		}
		if save(""); own() != "" {
			t.Errorf("a question makes %s the owner", own())
		}
		if save("part"); !strings.HasPrefix(own(), worker+" ") || !strings.HasSuffix(own(), " 1") {
			t.Errorf("the owner is %q", own())
		}
		finish(t, rdb, OK, Return(taken[0].Delivery, nil, 0, Head, asynqMessage(lane, "j:0:1")))
	})
}

func TestNumbersThatAreNoneHarmOnlyTheirJob(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, field := range []string{"chunks", "recorded", "done", "failed", "kept", "counted:0"} {
			for i, value := range []string{"", "x", "1.5", "-1", "007", "99999999999999999999"} {
				name := fmt.Sprintf("%s%d", field[:4], i)
				j := New(Job{Ref: Ref{Name: name}, About: "1 square", Pool: "pool", Calls: 10, Chunks: 2, Life: time.Hour, TTL: time.Minute}, someChunks(lane, name, 0, 2))
				submit(t, rdb, Sealed, j, newCall(lane, "well-"+name))
				taken := take(t, rdb, 3)
				rdb.HSet(t.Context(), Key(lane, name), field, value)
				answers, err := Finish(t.Context(), rdb, lane, Finishing{Worker: worker, Now: time.Now()}, []Finished{
					Record(taken[0].Delivery, Outcomes{Frame: []byte("out"), Calls: 5, Failed: 1}),
					Record(taken[2].Delivery, Outcomes{Frame: []byte("out"), Calls: 1}),
				})
				if err != nil || answers[0] != BadJob || answers[1] != OK {
					t.Errorf("%s is %q: %v, %v", field, value, answers, err)
				}
			}
		}
	})
}

func TestLargeFramesTravelInPieces(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, Sealed, newCall(lane, "j"))
		d := take(t, rdb, 1)[0].Delivery
		frame := func(fill string) []byte { return bytes.Repeat([]byte(fill), pieceSize+LargeFrame) }
		store := func(frame []byte) []byte {
			t.Helper()
			stored, err := Store(t.Context(), rdb, lane, "j", frame)
			if err != nil || !IsReference(stored) {
				t.Fatalf("storing a frame: %.80q, %v", stored, err)
			}
			return stored
		}
		load := func(what string, ref, want []byte) {
			t.Helper()
			if got, err := Load(t.Context(), rdb, lane, "j", ref); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, %v", what, len(got), err)
			}
		}
		there := func(want int) {
			t.Helper()
			all := keys(t, rdb, "distpool:{q}:frame:*")
			if len(all) != want {
				t.Errorf("%d pieces of frames, want %d: %v", len(all), want, all)
			}
			for _, key := range all {
				if n := rdb.StrLen(t.Context(), key).Val(); n > pieceSize {
					t.Errorf("a piece has %d bytes", n)
				}
			}
		}
		// A checkpoint takes the place of the one before, and goes with the recording.
		for _, fill := range []string{"a", "b"} {
			ref := store(frame(fill))
			for range 2 { // the second time because the reply was lost
				if got, err := Checkpoint(t.Context(), rdb, lane, worker, Saved{d, ref, 0}); err != nil || got[0] != Sealed {
					t.Fatalf("the checkpoint answers %v, %v", got, err)
				}
			}
			there(2)
			load("a checkpoint", ref, frame(fill))
		}
		lost := store(frame("c"))
		rdb.Del(t.Context(), frameKey(lane, "j", pieces(string(reference.FindSubmatch(lost)[1]), 2*pieceSize)[1]))
		finish(t, rdb, NoFrame, Return(d, lost, 0, Head, nil), Record(d, Outcomes{Frame: lost, Calls: 1}))
		if err := Discard(t.Context(), rdb, lane, "j", lost); err != nil {
			t.Fatal(err)
		}
		out := store(frame("d"))
		finish(t, rdb, OK, Record(d, Outcomes{Frame: out, Calls: 1}))
		there(2)
		load("outcomes", out, frame("d"))
	})
}
