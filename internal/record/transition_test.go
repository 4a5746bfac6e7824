package record_test

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestCreateAgainChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(6, 3, true), chunks(0, 3))
		before := read(t, rdb)
		other := job(9, 9, true)
		other.Task = "other"
		if n, err := record.Create(other, chunks(0, 5)).Run(t.Context(), rdb).Int(); err != nil || n != 0 {
			t.Errorf("create of an ID that exists answers %d, %v; want 0", n, err)
		}
		if after := read(t, rdb); !reflect.DeepEqual(after, before) {
			t.Errorf("the job was %+v and is %+v", before, after)
		}
		if n := rdb.HLen(t.Context(), record.Keys("q/j")[1]).Val(); n != 3 {
			t.Errorf("%d chunks have arguments, want 3", n)
		}
		if before.State != record.Sealed || before.Task != "square" || before.Codec != "json" || before.Queue != "q" ||
			before.Reply != "reply" || before.Calls != 6 || before.Chunks != 3 || before.Created == 0 {
			t.Errorf("the job reads %+v", before)
		}
	})
}

func TestEmptyJobIsDoneWhenCreated(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(0, 0, true), nil)
		if s := read(t, rdb); s.State != record.Done || s.Finished == 0 {
			t.Errorf("the job reads %+v, want it done", s)
		}
		keys(t, rdb, resultTTL)
	})
}

func TestAddTwiceIsAddOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(2, 1, false), chunks(0, 1))
		add(t, rdb, 6, 3, false, chunks(1, 2), record.Open)
		begin(t, rdb, 1, "w", "", record.Run)
		rec(t, rdb, 1, "o1", 0, record.OK)
		// Sent again, although chunk 1 has its outcomes by now: it must not get its
		// arguments back.
		add(t, rdb, 6, 3, false, chunks(1, 2), record.Open)
		begin(t, rdb, 1, "w", "", record.Recorded)
		add(t, rdb, 6, 3, true, nil, record.Sealed)
		add(t, rdb, 8, 4, true, chunks(3, 1), record.Sealed) // too late
		if s := read(t, rdb); s.Calls != 6 || s.Chunks != 3 || s.Recorded != 1 {
			t.Errorf("the job reads %+v, want 6 calls in 3 chunks, 1 recorded", s)
		}
	})
}

func TestAddToAJobThatIsGoneOrCanceledSaysSo(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		add(t, rdb, 2, 1, true, chunks(0, 1), record.Gone)
		create(t, rdb, job(2, 1, false), chunks(0, 1))
		if s, err := record.Cancel(t.Context(), rdb, "q/j", "test"); err != nil || s != record.Canceled {
			t.Fatal(s, err)
		}
		add(t, rdb, 4, 2, true, chunks(1, 1), record.Canceled)
		if got := keys(t, rdb, resultTTL); !maps.Equal(got, map[string]bool{"": true}) {
			t.Errorf("keys %v are left, want only the job's own", got)
		}
	})
}

func TestSealWithEverythingRecordedFinishesTheJob(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(2, 1, false), chunks(0, 1))
		next := subscribe(t, rdb, "reply")
		rec(t, rdb, 0, "o0", 1, record.OK)
		if n := nextNotice(t, next); n.State != record.Open || n.What != record.NoticeOut {
			t.Errorf("the recording is announced as %+v", n)
		}
		add(t, rdb, 2, 1, true, nil, record.Done)
		want := record.Notice{Job: record.Ref{ID: "q/j"}, What: record.NoticeEnd, Chunk: -1, Recorded: 1, Done: 2, Failed: 1, State: record.Done, Outcome: []byte{}}
		if n := nextNotice(t, next); !reflect.DeepEqual(n, want) {
			t.Errorf("the end is announced as %+v, want %+v", n, want)
		}
		keys(t, rdb, resultTTL)
	})
}

func TestBeginVerdicts(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		begin(t, rdb, 0, "w1", "", record.GoneJob)
		create(t, rdb, job(4, 2, true), chunks(0, 2))
		b := begin(t, rdb, 0, "w1", "", record.Run)
		want := record.Begun{Verdict: record.Run, Delivery: 1, Args: args(0), Task: "square", Codec: "json", Calls: 4, Partial: []byte{}, Big: true}
		if !reflect.DeepEqual(b, want) {
			t.Errorf("begin answers %+v, want %+v", b, want)
		}
		if b := begin(t, rdb, 0, "w2", "", record.Busy); b.Owner != "w1" {
			t.Errorf("the owner is %q, want w1", b.Owner)
		}
		begin(t, rdb, 0, "w2", "w0", record.Busy) // w0 is dead, but not the owner
		// A begin whose reply was lost: the same worker again, on purpose.
		if b := begin(t, rdb, 0, "w1", "w1", record.Run); b.Delivery != 1 {
			t.Errorf("a begin sent twice counts as delivery %d", b.Delivery)
		}
		rec(t, rdb, 0, "o0", 0, record.OK)
		begin(t, rdb, 0, "w2", "", record.Recorded)
		rec(t, rdb, 1, "o1", 0, record.OK)
		if b := begin(t, rdb, 1, "w2", "", record.EndedJob); b.State != record.Done {
			t.Errorf("the job ended as %q, want done", b.State)
		}
	})
}

func TestChunkThatKillsItsWorkersIsLostWhenTheBudgetIsUsedUp(t *testing.T) {
	for name, n := range map[string]int{"inline": 1, "chunked": 2} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
				create(t, rdb, job(2*n, n, true), chunks(0, n))
				begin(t, rdb, 0, "w1", "", record.Run)
				for i, takeover := range [][2]string{{"w2", "w1"}, {"w3", "w2"}} {
					if b := begin(t, rdb, 0, takeover[0], takeover[1], record.Run); b.Delivery != i+2 || !bytes.Equal(b.Args, args(0)) {
						t.Errorf("takeover by %s answers %+v, want delivery %d", takeover[0], b, i+2)
					}
				}
				b := begin(t, rdb, 0, "w4", "w3", record.Lost)
				if b.Delivery != 3 || !bytes.Equal(b.Args, args(0)) || b.Task != "square" {
					t.Errorf("begin answers %+v, want 3 workers lost and the arguments", b)
				}
				rec(t, rdb, 0, "lost", 2, record.OK)
			})
		})
	}
}

func TestReleaseDoesNotChargeTheBudget(t *testing.T) {
	for name, n := range map[string]int{"inline": 1, "chunked": 2} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
				release := func(worker string, partial []byte, want bool) {
					t.Helper()
					if ok, err := record.Release(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, worker, partial, 1); err != nil || ok != want {
						t.Fatalf("release by %s answers %t, %v; want %t", worker, ok, err, want)
					}
				}
				release("w1", nil, false) // no job
				create(t, rdb, job(2*n, n, true), chunks(0, n))
				release("w1", nil, true) // no owner: Redis may have lost it
				for range 5 {
					if b := begin(t, rdb, 0, "w1", "", record.Run); b.Delivery != 1 {
						t.Errorf("after a release, delivery %d; want 1", b.Delivery)
					}
					release("w2", nil, false) // not its chunk
					release("w1", nil, true)
				}
				begin(t, rdb, 0, "w1", "", record.Run)
				release("w1", []byte("half"), true)
				if b := begin(t, rdb, 0, "w2", "", record.Run); string(b.Partial) != "half" {
					t.Errorf("partial outcomes are %q, want half", b.Partial)
				}
				rec(t, rdb, 0, "o0", 0, record.OK)
				release("w2", nil, false) // recorded
			})
		})
	}
}

func TestFirstRecordingWins(t *testing.T) {
	for name, n := range map[string]int{"inline": 1, "chunked": 2} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
				create(t, rdb, job(2*n, n, true), chunks(0, n))
				rec(t, rdb, 0, "first", 1, record.OK)
				before := read(t, rdb)
				rec(t, rdb, 0, "second", 0, record.AlreadyRecorded)
				if after := read(t, rdb); !reflect.DeepEqual(after, before) {
					t.Errorf("the job was %+v and is %+v", before, after)
				}
				got := before.Out
				if n > 1 {
					got, _ = record.QueueOut(t.Context(), rdb, "q/j", 0).Bytes()
				}
				if string(got) != "first" || before.Recorded != 1 || before.Done != 2 || before.Failed != 1 {
					t.Errorf("outcomes %q of %+v, want the first", got, before)
				}
			})
		})
	}
}

func TestNothingIsRecordedAfterTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, n := range []int{1, 2} {
			create(t, rdb, job(2*n, n, true), chunks(0, n))
			begin(t, rdb, 0, "w", "", record.Run)
			if s, err := record.Cancel(t.Context(), rdb, "q/j", "enough"); err != nil || s != record.Canceled {
				t.Fatal(s, err)
			}
			rec(t, rdb, 0, "o", 0, record.WasCanceled)
			if b := begin(t, rdb, 0, "w", "", record.EndedJob); b.State != record.Canceled {
				t.Errorf("begin says %q, want canceled", b.State)
			}
			if s := read(t, rdb); s.State != record.Canceled || s.Reason != "enough" || s.Recorded != 0 || s.Out != nil {
				t.Errorf("the job reads %+v", s)
			}
			if s, err := record.Cancel(t.Context(), rdb, "q/j", "again"); err != nil || s != record.Canceled {
				t.Errorf("a second cancel answers %q, %v", s, err)
			}
			if s, err := record.Forget(t.Context(), rdb, "q/j"); err != nil || s != record.Canceled {
				t.Errorf("forget answers %q, %v; want the state it was in", s, err)
			}
			rec(t, rdb, 0, "o", 0, record.WasGone)
			if left := rdb.Keys(t.Context(), "*").Val(); len(left) != 0 {
				t.Errorf("keys %q are left of a job that was forgotten", left)
			}
			for what, f := range map[string]func() (record.State, error){
				"cancel": func() (record.State, error) { return record.Cancel(t.Context(), rdb, "q/j", "x") },
				"forget": func() (record.State, error) { return record.Forget(t.Context(), rdb, "q/j") },
			} {
				if s, err := f(); err != nil || s != record.Gone {
					t.Errorf("%s of a job that is gone answers %q, %v", what, s, err)
				}
			}
		}
	})
}

func TestCancelOfADoneJobIsTooLate(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(2, 1, true), chunks(0, 1))
		rec(t, rdb, 0, "o", 0, record.OK)
		if s, err := record.Cancel(t.Context(), rdb, "q/j", "late"); err != nil || s != record.Done {
			t.Errorf("cancel answers %q, %v; want done", s, err)
		}
		if s := read(t, rdb); s.State != record.Done || string(s.Out) != "o" {
			t.Errorf("the job reads %+v, want it done with its outcome", s)
		}
	})
}

func TestEveryKeyHasATimeToLiveAtEveryStage(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		stage := func(limit time.Duration, want ...string) {
			t.Helper()
			if got := slices.Sorted(maps.Keys(keys(t, rdb, limit))); !slices.Equal(got, want) {
				t.Errorf("the keys are %q, want %q", got, want)
			}
		}
		create(t, rdb, job(0, 0, false), nil)
		stage(openTTL, "")
		add(t, rdb, 4, 2, false, chunks(0, 2), record.Open)
		stage(openTTL, "", ":args")
		begin(t, rdb, 0, "w1", "", record.Run)
		stage(openTTL, "", ":args", ":run")
		if _, err := record.Release(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, "w1", []byte("p"), 1); err != nil {
			t.Fatal(err)
		}
		stage(openTTL, "", ":args", ":run")
		begin(t, rdb, 0, "w2", "", record.Run)
		rec(t, rdb, 0, "o0", 0, record.OK)
		stage(openTTL, "", ":args", ":order", ":out")
		begin(t, rdb, 1, "w2", "", record.Run)
		rec(t, rdb, 1, "o1", 0, record.OK)
		stage(openTTL, "", ":order", ":out")
		add(t, rdb, 6, 3, false, chunks(2, 1), record.Open)
		stage(openTTL, "", ":args", ":order", ":out")
		begin(t, rdb, 2, "w2", "", record.Run)
		add(t, rdb, 6, 3, true, nil, record.Sealed)
		stage(openTTL, "", ":args", ":order", ":out", ":run")
		rec(t, rdb, 2, "o2", 0, record.OK)
		stage(resultTTL, "", ":order", ":out")
	})
}

func TestJobOfASingleChunkIsOneKey(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		only := func(when string) {
			t.Helper()
			if got := rdb.Keys(t.Context(), "*").Val(); !slices.Equal(got, []string{"distpool:{q}:job:j"}) {
				t.Errorf("%s the keys are %q", when, got)
			}
		}
		create(t, rdb, job(2, 1, true), chunks(0, 1))
		only("created,")
		begin(t, rdb, 0, "w", "", record.Run)
		only("begun,")
		keys(t, rdb, openTTL)
		rec(t, rdb, 0, "o", 0, record.OK)
		only("recorded,")
		keys(t, rdb, resultTTL)
		s := read(t, rdb)
		if !s.Inline || string(s.Out) != "o" || s.State != record.Done {
			t.Errorf("the job reads %+v, want it inline with its outcome", s)
		}
		fields := rdb.HGetAll(t.Context(), "distpool:{q}:job:j").Val()
		for _, gone := range []string{"args", "run", "run:lost", "run:part"} {
			if v, ok := fields[gone]; ok {
				t.Errorf("field %s is still there: %q", gone, v)
			}
		}
	})
}

func TestLastRecordingFinishesTheJob(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(6, 3, true), chunks(0, 3))
		for i, chunk := range []int{2, 0, 1} {
			if s := read(t, rdb); s.State != record.Sealed || s.Recorded != i {
				t.Errorf("before recording %d the job reads %+v", i, s)
			}
			keys(t, rdb, openTTL)
			rec(t, rdb, chunk, "o", i%2, record.OK)
		}
		s := read(t, rdb)
		if s.State != record.Done || s.Recorded != 3 || s.Done != 6 || s.Failed != 1 || s.Finished < s.Created {
			t.Errorf("the job reads %+v, want it done", s)
		}
		if got := keys(t, rdb, resultTTL); !maps.Equal(got, map[string]bool{"": true, ":out": true, ":order": true, ":run": true}) {
			t.Errorf("the keys are %v, want the run hash to keep the arguments of the failed call", got)
		}
		order, err := record.ParseOrder(record.QueueOrder(t.Context(), rdb, "q/j", 0))
		if err != nil || !slices.Equal(order, []int{2, 0, 1}) {
			t.Errorf("recorded in the order %v, %v; want 2 0 1", order, err)
		}
		order, err = record.ParseOrder(record.QueueOrder(t.Context(), rdb, "q/j", 2))
		if err != nil || !slices.Equal(order, []int{1}) {
			t.Errorf("after the first two: %v, %v; want 1", order, err)
		}
	})
}

func TestAJobIsEndedUnlessItBeginsInTime(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		expire := func() int {
			t.Helper()
			left, err := record.ExpireOp("q/j").Run(t.Context(), rdb).Int()
			if err != nil {
				t.Fatal(err)
			}
			return left
		}
		late := func() { rdb.HSet(t.Context(), record.Keys("q/j")[0], "expires", 1) } // its time is over
		if left := expire(); left != -1 {
			t.Errorf("expire of no job answers %d", left)
		}
		limited := job(4, 2, true)
		limited.Within = time.Minute
		create(t, rdb, limited, chunks(0, 2))
		if left := expire(); left <= 50_000 || left > 60_000 {
			t.Errorf("expire of a job with a minute left answers %d ms", left)
		}
		late()
		next := subscribe(t, rdb, "reply")
		if b := begin(t, rdb, 1, "w", "", record.EndedJob); b.State != record.Canceled {
			t.Errorf("begin of a late job answers %+v", b)
		}
		if n := nextNotice(t, next); n.State != record.Unstarted || n.What != record.NoticeEnd {
			t.Errorf("its end is announced as %+v", n)
		}
		if s := read(t, rdb); s.State != record.Unstarted || s.Expires != 0 {
			t.Errorf("it reads %+v", s)
		}
		if got := keys(t, rdb, resultTTL); !maps.Equal(got, map[string]bool{"": true}) {
			t.Errorf("keys %v are left, want only the job's own", got)
		}

		rdb.Del(t.Context(), record.Keys("q/j")...)
		create(t, rdb, limited, chunks(0, 2))
		late()
		if left := expire(); left != 0 {
			t.Errorf("expire of a late job answers %d", left)
		}
		if n := nextNotice(t, next); n.State != record.Unstarted {
			t.Errorf("its end is announced as %+v", n)
		}
		if left := expire(); left != -1 {
			t.Errorf("expire of an ended job answers %d", left)
		}

		rdb.Del(t.Context(), record.Keys("q/j")...)
		create(t, rdb, limited, chunks(0, 2))
		begin(t, rdb, 0, "w", "", record.Run)
		if left := expire(); left != -1 {
			t.Errorf("expire of a job that has begun answers %d", left)
		}
	})
}
