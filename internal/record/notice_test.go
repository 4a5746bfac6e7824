package record_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestRecordingsAreAnnouncedWithSmallOutcomesInside(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		next := subscribe(t, rdb, "reply")
		create(t, rdb, job(4, 2, true), chunks(0, 2))
		small, large := "line 1\nline 2 \x00\xff", strings.Repeat("x", 101)
		rec(t, rdb, 1, small, 1, record.OK)
		want := record.Notice{Job: record.Ref{ID: "q/j"}, What: record.NoticeOut, Chunk: 1, Recorded: 1, Done: 2, Failed: 1, State: record.Sealed, Outcome: []byte(small)}
		if n := nextNotice(t, next); !reflect.DeepEqual(n, want) {
			t.Errorf("the notice is %+v, want %+v", n, want)
		}
		rec(t, rdb, 1, small, 1, record.AlreadyRecorded) // announces nothing
		rec(t, rdb, 0, large, 0, record.OK)
		want = record.Notice{Job: record.Ref{ID: "q/j"}, What: record.NoticeRec, Chunk: 0, Recorded: 2, Done: 4, Failed: 1, State: record.Done, Outcome: []byte{}}
		if n := nextNotice(t, next); !reflect.DeepEqual(n, want) {
			t.Errorf("the notice is %+v, want %+v", n, want)
		}
	})
}

func TestEndBeforeItsTimeIsAnnouncedToProducerAndWorkers(t *testing.T) {
	for what, state := range map[string]record.State{"cancel": record.Canceled, "forget": record.Forgotten} {
		t.Run(what, func(t *testing.T) {
			onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
				producer, workers := subscribe(t, rdb, "reply"), subscribe(t, rdb, record.Control)
				create(t, rdb, job(4, 2, true), chunks(0, 2))
				rec(t, rdb, 0, "o", 0, record.OK)
				nextNotice(t, producer)
				var err error
				if what == "cancel" {
					_, err = record.Cancel(t.Context(), rdb, "q/j", "why")
				} else {
					_, err = record.Forget(t.Context(), rdb, "q/j")
				}
				if err != nil {
					t.Fatal(err)
				}
				want := record.Notice{Job: record.Ref{ID: "q/j"}, What: record.NoticeEnd, Chunk: -1, Recorded: 1, Done: 2, State: state, Outcome: []byte{}}
				if n := nextNotice(t, producer); !reflect.DeepEqual(n, want) {
					t.Errorf("the producer hears %+v, want %+v", n, want)
				}
				if id := workers(); id != "q/j" {
					t.Errorf("the workers hear %q, want the job's ID", id)
				}
			})
		})
	}
}

func TestCorruptNoticesAreRefused(t *testing.T) {
	for _, payload := range []string{"", "q/j", "q/j out 0 1 1 0 done", "q/j out 0 1 1 done\n", "q/j out 0 1 1 0 done more\n", "q/j out x 1 1 0 done\n", "q/j out 0 1 1  done\n"} {
		if n, err := record.ParseNotice(payload); err == nil {
			t.Errorf("%q parses: %+v", payload, n)
		}
	}
}

func TestCorruptRecordIsToldApartFromAnUnreadableOne(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(4, 2, true), chunks(0, 2))
		for field, bad := range map[string]string{"v": "2", "calls": "x", "chunks": "-1", "recorded": "", "done": "1.5", "failed": " 1"} {
			key := record.Keys("q/j")[0]
			good := rdb.HGet(t.Context(), key, field).Val()
			rdb.HSet(t.Context(), key, field, bad)
			_, err := record.Read(t.Context(), rdb, "q/j")
			if !record.IsCorrupt(err) || !strings.Contains(err.Error(), "field "+field) {
				t.Errorf("field %s %q: error is %v, want a corrupt record and the field's name", field, bad, err)
			}
			rdb.HSet(t.Context(), key, field, good)
		}
		read(t, rdb)
		rdb.RPush(t.Context(), record.Keys("q/j")[3], "x")
		if _, err := record.ParseOrder(record.QueueOrder(t.Context(), rdb, "q/j", 0)); !record.IsCorrupt(err) {
			t.Errorf("a bad order list: %v, want a corrupt record", err)
		}
		rdb.HSet(t.Context(), record.Keys("q/j")[0], "calls", "x")
		if _, err := record.Begin(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, "w", "", 3); !record.IsCorrupt(err) {
			t.Errorf("begin: %v, want a corrupt record", err)
		}
		rdb.Close()
		if _, err := record.Read(t.Context(), rdb, "q/j"); err == nil || record.IsCorrupt(err) {
			t.Errorf("over a closed client: %v, want an error that is not about the record", err)
		}
	})
}

func TestStateOfAJobThatIsNotThereIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		if s := read(t, rdb); s.State != record.Gone {
			t.Errorf("it reads %+v", s)
		}
		if s, err := record.ParseState(record.QueueState(t.Context(), rdb, "q/j")); err != nil || s != record.Gone {
			t.Errorf("its state is %q, %v", s, err)
		}
	})
}

func TestChunksLeftCountsChunksWithoutOutcomes(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(3, 3, true), chunks(0, 3))
		left := func() int {
			t.Helper()
			m, err := record.ChunksLeft(t.Context(), rdb, []string{"q/j", "unknown"})
			if err != nil || m["unknown"] != 0 {
				t.Fatalf("ChunksLeft: %v, %v", m, err)
			}
			return m["q/j"]
		}
		if n := left(); n != 3 {
			t.Errorf("%d chunks are left of a new job, want 3", n)
		}
		if _, err := record.Record(t.Context(), rdb, record.Ref{ID: "q/j"}, 1, []byte("o"), 1, 0, 0); err != nil {
			t.Fatal(err)
		}
		if n := left(); n != 2 {
			t.Errorf("%d chunks are left after one was recorded, want 2", n)
		}
		if _, err := record.Cancel(t.Context(), rdb, "q/j", ""); err != nil {
			t.Fatal(err)
		}
		if n := left(); n != 0 {
			t.Errorf("%d chunks are left of a canceled job, want 0", n)
		}
	})
}
