package inspect_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleettest"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/producer"
)

func TestJobsAreListedNewestFirstInPages(t *testing.T) {
	test := func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		var want []string
		n := 0
		// Several flushes to each shard, of several jobs each, of both kinds.
		for flush := range 5 * record.ListShards {
			var batch []record.Listed
			for i := range 7 {
				id := fmt.Sprintf("q/j%03d", n)
				n++
				single := i < 3
				j := record.Job{ID: id, Task: "t", Chunks: 2, Sealed: true}
				if single {
					j.Chunks = 1
				}
				create(t, rdb, j, 1)
				batch = append(batch, record.Listed{ID: id, Task: "t", Queue: "q", Single: single})
				want = append(want, id)
			}
			list(t, rdb, flush%record.ListShards, batch...)
		}
		for _, limit := range []int{1, 3, 50, 1000} {
			var got []string
			q := inspect.Query{Limit: limit}
			for {
				p := jobs(t, in, q)
				got = append(got, ids(p)...)
				if q.From = p.Next; q.From == "" {
					break
				}
				if len(p.Jobs) != limit {
					t.Fatalf("a page in the middle has %d jobs, want %d", len(p.Jobs), limit)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("in pages of %d there are %d jobs, want %d", limit, len(got), len(want))
			}
			sorted := slices.Clone(got)
			slices.Sort(sorted)
			if !slices.Equal(sorted, want) {
				t.Errorf("in pages of %d some jobs come twice, or not at all: %q", limit, got)
			}
			if got[0] < "q/j133" || got[len(got)-1] > "q/j006" {
				t.Errorf("in pages of %d the first is %s, the last %s: not the newest and the oldest", limit, got[0], got[len(got)-1])
			}
		}
		if p := jobs(t, in, inspect.Query{}); p.List.Jobs != n || p.List.Unlisted != 0 || p.List.Cut != 0 {
			t.Errorf("the counts are %+v, want %d jobs", p.List, n)
		}
	}
	onBoth(t, test)
	onCluster(t, test)
}

func TestFiltersFindJobsByTaskQueueAndStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		for i, id := range []string{"q/waits", "q/runs", "q/done", "q/failed", "q/canceled", "q/later"} {
			j := record.Job{ID: id, Task: "even", Chunks: 2, Sealed: true}
			if i%2 == 1 {
				j.Task = "odd"
			}
			if id == "q/later" {
				j.Start = time.Now().Add(time.Hour)
			}
			create(t, rdb, j, 1)
			list(t, rdb, i%record.ListShards, record.Listed{ID: id, Task: j.Task, Queue: "q"})
		}
		begin(t, rdb, "q/runs", 0, "w", "")
		for _, id := range []string{"q/done", "q/failed"} {
			for k := range 2 {
				begin(t, rdb, id, k, "w", "")
			}
		}
		rec(t, rdb, "q/done", 0, 1, 0)
		rec(t, rdb, "q/done", 1, 1, 0)
		rec(t, rdb, "q/failed", 0, 1, 0)
		rec(t, rdb, "q/failed", 1, 1, 0, 0)
		if _, err := in.Cancel(t.Context(), "q/canceled"); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			q    inspect.Query
			want []string
		}{
			{inspect.Query{}, []string{"q/canceled", "q/done", "q/failed", "q/later", "q/runs", "q/waits"}},
			{inspect.Query{Task: "odd"}, []string{"q/failed", "q/later", "q/runs"}},
			{inspect.Query{Task: "even", Status: inspect.Succeeded}, []string{"q/done"}},
			{inspect.Query{Queue: "q", Status: inspect.Running}, []string{"q/runs"}},
			{inspect.Query{Queue: "other"}, nil},
			{inspect.Query{Status: inspect.Waiting}, []string{"q/waits"}},
			{inspect.Query{Status: inspect.Failed}, []string{"q/failed"}},
			{inspect.Query{Status: inspect.Canceled}, []string{"q/canceled"}},
			{inspect.Query{Status: inspect.Scheduled}, []string{"q/later"}},
			{inspect.Query{Status: inspect.Expired}, nil},
		} {
			got := ids(jobs(t, in, tt.q))
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%+v finds %q, want %q", tt.q, got, tt.want)
			}
		}
	})
}

func TestJobsThatAreGoneAndIDsThatWereUsedAgainAreSkipped(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		create(t, rdb, record.Job{ID: "q/a", Task: "t", Chunks: 1, Sealed: true}, 1)
		list(t, rdb, 0, record.Listed{ID: "q/a", Task: "t", Queue: "q", Single: true}, record.Listed{ID: "q/gone", Task: "t", Queue: "q", Single: true})
		list(t, rdb, 1, record.Listed{ID: "q/a", Task: "t", Queue: "q", Single: true})
		p := jobs(t, in, inspect.Query{})
		if got := ids(p); !slices.Equal(got, []string{"q/a"}) || p.Gone != 1 || p.Looked != 3 {
			t.Errorf("found %q, %d gone of %d", got, p.Gone, p.Looked)
		}
	})
}

func TestTheListIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		const flushes, each = 8, 8000
		for f := range flushes {
			b := &record.Batch{}
			for i := range each + 1 {
				b.Add(record.Listed{ID: fmt.Sprintf("%05d", f*each+i), Task: "t", Queue: "q", Single: true})
			}
			if b.Len() != each || b.Unlisted != 1 {
				t.Fatalf("a batch takes %d jobs and leaves %d out, want %d and 1", b.Len(), b.Unlisted, each)
			}
			if err := record.List(t.Context(), rdb, 0, b); err != nil {
				t.Fatal(err)
			}
		}
		p := jobs(t, in, inspect.Query{})
		if p.List.Jobs != 48_000 || p.List.Cut != 16_000 || p.List.Unlisted != flushes || time.Since(p.List.UnlistedAt).Abs() > fleettest.Patience {
			t.Errorf("after %d jobs the list is %+v", flushes*each, p.List)
		}
		if p.Next == "" && p.Looked != 48_000 {
			t.Errorf("the list ended after %d names", p.Looked)
		}
		for _, key := range rdb.Keys(t.Context(), "distpool:*").Val() {
			if rdb.TTL(t.Context(), key).Val() <= 0 {
				t.Errorf("%s lives for ever", key)
			}
		}
	})
}

func TestPoolsListWhatTheyMakeAndIdlePoolsSendNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		f := start(t, rdb)
		one, err := producer.ApplyAsync(t.Context(), f.pool, fail, 2)
		if err != nil {
			t.Fatal(err)
		}
		named, err := producer.MapAsync(t.Context(), f.pool, fail, []int{0, 2, 4}, producer.ChunkSize(1), producer.ID("named"))
		if err != nil {
			t.Fatal(err)
		}
		for range producer.IMap(t.Context(), f.pool, fail, slices.Values([]int{2, 4})) {
			break // which forgets the job: it is listed, and gone
		}
		var p inspect.Page
		eventually(t, "all three are listed, and the named one is over", func() bool {
			p = jobs(t, in, inspect.Query{Task: "fail"})
			return p.Looked == 3 && len(p.Jobs) == 2 && p.Jobs[0].Status.Over() && p.Jobs[1].Status.Over()
		})
		got := ids(p)
		slices.Sort(got)
		want := []string{one.ID(), named.ID()}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("listed are %q, want %q", got, want)
		}
		if _, err := named.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		entries := func() (n int64) {
			for _, key := range rdb.Keys(t.Context(), "distpool:@{recent:*:*").Val() {
				n += rdb.XLen(t.Context(), key).Val()
			}
			return n
		}
		before := entries()
		if before == 0 {
			t.Fatal("no entries are found to compare")
		}
		// A submission flushes what follows it; without one there is no timer.
		time.Sleep(3 * 250 * time.Millisecond)
		if after := entries(); after != before {
			t.Errorf("an idle pool listed: %d entries became %d", before, after)
		}
	})
}

func TestPoolThatEndsListsItsLastJobsFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		p, err := producer.Open(t.Context(), producer.Config{Client: rdb})
		if err != nil {
			t.Fatal(err)
		}
		j, err := producer.ApplyAsync(t.Context(), p, fail, 2)
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
		if got := ids(jobs(t, in, inspect.Query{})); !slices.Equal(got, []string{j.ID()}) {
			t.Errorf("listed are %q", got)
		}
	})
}

func TestBadPlaceInTheListIsAnError(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, from := range []string{"x", "1-2-3", "1-2-99-0", "-1-0-0-0", "1-1-1-99999999999999999999"} {
			if _, err := inspect.New(rdb).Jobs(t.Context(), inspect.Query{From: from}); err == nil {
				t.Errorf("%q is taken for a place", from)
			}
		}
	})
}
