package record_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestConsumeRemovesOutcomesAndKeepsTheCounts(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(6, 3, false), chunks(0, 3))
		for _, chunk := range []int{2, 0, 1} {
			begin(t, rdb, chunk, "w", "", record.Run)
			rec(t, rdb, chunk, "o", 0, record.OK)
		}
		for range 2 {
			if err := record.Consume(t.Context(), rdb, "q/j", []int{0, 2}); err != nil {
				t.Fatal(err)
			}
			order, err := record.ParseOrder(record.QueueOrder(t.Context(), rdb, "q/j", 0))
			if err != nil || !slices.Equal(order, []int{1}) {
				t.Errorf("chunks %v, %v are left in the order, want 1", order, err)
			}
			if left := rdb.HKeys(t.Context(), record.Keys("q/j")[2]).Val(); !slices.Equal(left, []string{"1"}) {
				t.Errorf("outcomes of chunks %v are left, want 1", left)
			}
		}
		begin(t, rdb, 0, "w", "", record.Recorded) // it does not run again
		rec(t, rdb, 0, "o", 0, record.AlreadyRecorded)
		if err := record.Consume(t.Context(), rdb, "q/j", []int{1}); err != nil {
			t.Fatal(err)
		}
		if got := keys(t, rdb, openTTL); !maps.Equal(got, map[string]bool{"": true}) {
			t.Errorf("keys %v are left, want only the job's own", got)
		}
		// Keys that come again have a time to live again, which keys checks.
		add(t, rdb, 8, 4, true, []record.Chunk{{Number: 3, Args: []byte("a")}}, record.Sealed)
		keys(t, rdb, openTTL)
		begin(t, rdb, 3, "w", "", record.Run)
		rec(t, rdb, 3, "o", 0, record.OK)
		if s := read(t, rdb); s.Recorded != 4 || s.State != record.Done {
			t.Errorf("the job reads %+v, want it done with 4 chunks", s)
		}
		if err := record.Consume(t.Context(), rdb, "gone", slices.Repeat([]int{7}, 2500)); err != nil {
			t.Errorf("consuming from a job that is gone: %v", err)
		}
	})
}

func TestExtendGivesAJobThatIsNotOverMoreTime(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		extend := func(seal bool) {
			t.Helper()
			if err := record.Extend(record.Ref{ID: "q/j"}, 6, 3, seal, 10*openTTL, nil).Run(t.Context(), rdb).Err(); err != nil {
				t.Fatal(err)
			}
		}
		create(t, rdb, job(6, 3, false), chunks(0, 3))
		begin(t, rdb, 0, "w", "", record.Run)
		rec(t, rdb, 0, "o", 0, record.OK)
		begin(t, rdb, 1, "w", "", record.Run)
		extend(false)
		if got := keys(t, rdb, 10*openTTL); len(got) != 5 {
			t.Errorf("keys are %v, want all five", got)
		}
		extend(true)
		for _, name := range record.Keys("q/j") {
			rdb.PExpire(t.Context(), name, time.Minute)
		}
		extend(false) // sealed
		keys(t, rdb, 10*openTTL)
		rec(t, rdb, 1, "o", 0, record.OK)
		begin(t, rdb, 2, "w", "", record.Run)
		rec(t, rdb, 2, "o", 0, record.OK)
		extend(false) // too late: it is over
		keys(t, rdb, resultTTL)
	})
}

func TestConsumeOfAChunkWhoseFailedArgumentsWereNotKept(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		create(t, rdb, job(2, 1, false), chunks(0, 1))
		rdb.HSet(t.Context(), record.Keys("q/j")[0], "kept", 64<<20) // there is no room for more
		begin(t, rdb, 0, "w", "", record.Run)
		rec(t, rdb, 0, "o", 2, record.OK)
		if kept := rdb.HGet(t.Context(), record.Keys("q/j")[4], "0:failed"); kept.Err() != nil || kept.Val() != "" {
			t.Fatalf("of the arguments %q were kept, %v; want an empty field", kept.Val(), kept.Err())
		}
		if err := record.Consume(t.Context(), rdb, "q/j", []int{0}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.HGet(t.Context(), record.Keys("q/j")[0], "kept").Val(); n != "67108864" {
			t.Errorf("%s bytes count as kept afterwards, want what it was", n)
		}
		if got := keys(t, rdb, openTTL); !maps.Equal(got, map[string]bool{"": true}) {
			t.Errorf("keys %v are left, want only the job's own", got)
		}
	})
}
