package record_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// queueMap makes job "q/j" of n chunks and enqueues a delivery of each on queue "q".
func queueMap(t *testing.T, rdb redis.UniversalClient, cs []record.Chunk) {
	t.Helper()
	create(t, rdb, job(2*len(cs), len(cs), true), cs)
	for i := range cs {
		deliver(t, rdb, fmt.Sprint("j:", i, ":1"))
	}
}

func deliver(t *testing.T, rdb redis.UniversalClient, taskID string) {
	t.Helper()
	_, err := asynq.NewClientFromRedisClient(rdb).EnqueueContext(t.Context(), asynq.NewTask("square", []byte("p")), asynq.TaskID(taskID), asynq.Queue("q"))
	if err != nil {
		t.Fatal(err)
	}
}

func TestFetchBeginsChunksOfAMapAsBeginDoes(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := job(10, 5, true)
		j.Policy, j.Headers = `{"retries":1}`, `{"h":"1"}`
		create(t, rdb, j, chunks(0, 5))
		for i := range 5 {
			deliver(t, rdb, fmt.Sprint("j:", i, ":1"))
		}
		byBegin := begin(t, rdb, 4, "w", "", record.Run)
		want := rdb.HGetAll(t.Context(), record.Keys("q/j")[4]).Val()
		ds := fetch(t, rdb, "q", 4, 0)
		if len(ds) != 4 {
			t.Fatalf("%d deliveries, want 4", len(ds))
		}
		for i, d := range ds {
			if d.TaskID != fmt.Sprint("j:", i, ":1") || d.Begun == nil || !d.Owned {
				t.Fatalf("delivery %d is %+v", i, d)
			}
			same := byBegin
			same.Args, same.Partial = args(i), nil
			if !reflect.DeepEqual(*d.Begun, same) {
				t.Errorf("chunk %d is begun with\n%+v, by begin with\n%+v", i, *d.Begun, same)
			}
		}
		got := rdb.HGetAll(t.Context(), record.Keys("q/j")[4]).Val()
		for i := range 5 {
			if owner, at := got[fmt.Sprint(i)], got[fmt.Sprint(i, ":at")]; owner != "w" || len(at) != len(want["4:at"]) {
				t.Errorf("the owner of chunk %d is %q since %q", i, owner, at)
			}
		}
		if n := rdb.HGet(t.Context(), record.Keys("q/j")[0], "running").Val(); n != "5" || len(got) != 10 {
			t.Errorf("%s chunks run, want 5; the run state is %v", n, got)
		}
		keys(t, rdb, openTTL)
		// And they end like others.
		for i, d := range ds {
			op := record.Finish(record.Ref{ID: "q/j"}, d.Begun.Inline, i, record.Recording{Outcome: []byte("o"), Calls: 2, Inline: 100}, "q", d.TaskID)
			if s, err := op.Run(t.Context(), rdb).Text(); err != nil || s != "ok" {
				t.Fatal(s, err)
			}
		}
		rec(t, rdb, 4, "o", 0, record.OK)
		if s := read(t, rdb); s.State != record.Done || s.Done != 10 || s.Running != 0 {
			t.Errorf("the job reads %+v", s)
		}
	})
}

func TestFetchBeginsEachChunkOfAMapOnceAndLeavesWhatAsksForThought(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		queueMap(t, rdb, chunks(0, 6))
		deliver(t, rdb, "j:0:2") // issued again
		run := record.Keys("q/j")[4]
		rdb.HSet(t.Context(), run, "1", "another")
		rdb.HSet(t.Context(), run, "2", "", "2:lost", 1)
		rdb.HSet(t.Context(), run, "3:part", "p")
		rdb.HDel(t.Context(), record.Keys("q/j")[1], "4") // recorded
		begun := map[string]bool{}
		for _, d := range fetch(t, rdb, "q", 10, 0) {
			begun[d.TaskID] = d.Begun != nil
		}
		want := map[string]bool{"j:0:1": true, "j:0:2": false, "j:1:1": false, "j:2:1": false, "j:3:1": false, "j:4:1": false, "j:5:1": true}
		if !reflect.DeepEqual(begun, want) {
			t.Errorf("begun are %v, want %v", begun, want)
		}
		if n := rdb.HGet(t.Context(), record.Keys("q/j")[0], "running").Val(); n != "2" {
			t.Errorf("%s chunks run, want 2", n)
		}
	})
}

func TestADamagedMapIsLeftToBegin(t *testing.T) {
	damages := map[string]func(t *testing.T, rdb redis.UniversalClient){
		"canceled": func(t *testing.T, rdb redis.UniversalClient) {
			rdb.HSet(t.Context(), record.Keys("q/j")[0], "state", "canceled")
		},
		"expires": func(t *testing.T, rdb redis.UniversalClient) {
			rdb.HSet(t.Context(), record.Keys("q/j")[0], "expires", 1)
		},
		"gen": func(t *testing.T, rdb redis.UniversalClient) {
			rdb.HSet(t.Context(), record.Keys("q/j")[0], "gen", "g")
		},
		"gone": func(t *testing.T, rdb redis.UniversalClient) { rdb.Del(t.Context(), record.Keys("q/j")[0]) },
		"counter": func(t *testing.T, rdb redis.UniversalClient) {
			rdb.HSet(t.Context(), record.Keys("q/j")[0], "running", "many")
		},
		"args": func(t *testing.T, rdb redis.UniversalClient) {
			rdb.Del(t.Context(), record.Keys("q/j")[1])
			rdb.Set(t.Context(), record.Keys("q/j")[1], "x", 0)
		},
		"run": func(t *testing.T, rdb redis.UniversalClient) { rdb.Set(t.Context(), record.Keys("q/j")[4], "x", 0) },
	}
	for what, damage := range damages {
		t.Run(what, func(t *testing.T) {
			onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
				queueMap(t, rdb, chunks(0, 3))
				damage(t, rdb)
				ds := fetch(t, rdb, "q", 3, 0)
				if len(ds) != 3 {
					t.Fatalf("%d deliveries, want 3", len(ds))
				}
				for _, d := range ds {
					if d.Begun != nil || d.Owned || d.Msg == "" {
						t.Errorf("fetched %+v, want the delivery alone", d)
					}
				}
			})
		})
	}
}

// One reply must not hold up everybody else for as long as all free slots' arguments
// take together.
func TestFetchBeginsOnlySoManyBytesOfAMap(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		cs := chunks(0, 6)
		for i := range cs {
			cs[i].Args = []byte(strings.Repeat("x", 400<<10))
		}
		queueMap(t, rdb, cs)
		n := 0
		for i, d := range fetch(t, rdb, "q", 6, 0) {
			if d.Begun != nil {
				n++
				if i >= 2 || len(d.Begun.Args) != 400<<10 {
					t.Errorf("delivery %d is begun with %d bytes", i, len(d.Begun.Args))
				}
			}
		}
		if n != 2 {
			t.Errorf("%d chunks of 400 KiB are begun, want the 2 that fit in 1 MiB", n)
		}
	})
}

func TestAChunkOfAMapIsGivenBackWithItsDelivery(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		queueMap(t, rdb, chunks(0, 3))
		ds := fetch(t, rdb, "q", 3, 0)
		ds[1].Owned = false // the chunk runs here, by another delivery
		rdb.HSet(t.Context(), record.Keys("q/j")[4], "2", "another")
		if err := record.GiveBack(t.Context(), rdb, "w", ds); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"", "w", "another"} {
			if owner := rdb.HGet(t.Context(), record.Keys("q/j")[4], fmt.Sprint(i)).Val(); owner != want {
				t.Errorf("the owner of chunk %d is %q, want %q", i, owner, want)
			}
		}
		if n := rdb.HGet(t.Context(), record.Keys("q/j")[0], "running").Val(); n != "2" {
			t.Errorf("%s chunks run, want 2", n)
		}
		again := fetch(t, rdb, "q", 3, 0)
		if len(again) != 3 || again[0].Begun == nil || again[0].Begun.Delivery != 1 || again[1].Begun != nil || again[2].Begun != nil {
			t.Errorf("fetched again: %+v", again)
		}
	})
}

func TestChunksOfAMapThatWorkerDoesNotKnowAreFound(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		queueMap(t, rdb, chunks(0, 3))
		fetch(t, rdb, "q", 3, 0)
		rdb.HSet(t.Context(), record.Keys("q/j")[4], "1", "another")
		own, err := record.OwnDeliveries(t.Context(), rdb, "w", "q", func(id string) bool { return id == "j:0:1" })
		if err != nil || len(own) != 1 || own[0] != "j:2:1" {
			t.Errorf("found %q, %v; want the one that is the worker's and unknown", own, err)
		}
	})
}
