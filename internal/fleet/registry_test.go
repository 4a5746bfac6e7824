package fleet

import (
	"reflect"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

var worker1 = Worker{
	ID: "host:7:abc", Host: "host", PID: 7, Concurrency: 3, Queues: map[string]int{"q": 2, "off": 0},
	Tasks: []string{"cube", "square"}, Started: time.Unix(1_700_000_000, 0).UTC(),
}

func TestWorkerIsInTheRegistryUntilItLeaves(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		alive := func(want bool) {
			t.Helper()
			if ok, err := alive(t, rdb, worker1.ID); err != nil || ok != want {
				t.Errorf("alive: %t, %v; want %t", ok, err, want)
			}
			ws, err := Workers(t.Context(), rdb)
			if err != nil || (len(ws) == 1) != want || want && !reflect.DeepEqual(ws[0], worker1) {
				t.Errorf("workers: %+v, %v; want it there: %t", ws, err, want)
			}
		}
		alive(false)
		if err := Register(t.Context(), rdb, worker1, time.Minute); err != nil {
			t.Fatal(err)
		}
		alive(true)
		for _, key := range rdb.Keys(t.Context(), "*").Val() {
			if rdb.PTTL(t.Context(), key).Val() <= 0 {
				t.Errorf("key %s has no time to live", key)
			}
			if !IsKey(key) {
				t.Errorf("key %s is not seen as the registry's", key)
			}
		}
		if err := Unregister(t.Context(), rdb, worker1.ID); err != nil {
			t.Fatal(err)
		}
		alive(false)
		if left := rdb.Keys(t.Context(), "*").Val(); len(left) != 0 {
			t.Errorf("keys %q are left", left)
		}
	})
}

func TestTheIndexForgetsTheDeadByTheClockOfRedis(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		register := func(id string) {
			t.Helper()
			if err := Register(t.Context(), rdb, Worker{ID: id}, Lifetime); err != nil {
				t.Fatal(err)
			}
		}
		register("dead")
		register("alive")
		now := rdb.Time(t.Context()).Val()
		if left := time.UnixMilli(int64(rdb.ZScore(t.Context(), index, "alive").Val())).Sub(now); left <= remember-time.Minute || left > remember {
			t.Errorf("the index lists a worker for %v, want %v", left, remember)
		}
		rdb.ZAdd(t.Context(), index, redis.Z{Score: float64(now.UnixMilli() - 1), Member: "dead"})
		register("alive")
		if ids := rdb.ZRange(t.Context(), index, 0, -1).Val(); len(ids) != 1 || ids[0] != "alive" {
			t.Errorf("the index has %q", ids)
		}
	})
}

func TestWorkerThatFallsSilentCountsAsDead(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := client(t, server)
	m := member(rdb, "w")
	for range 2 {
		if err := m.beat(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		server.FastForward(4 * time.Second)
	}
	if ok, err := alive(t, rdb, "w"); err != nil || !ok {
		t.Errorf("4 s after a heartbeat: alive %t, %v", ok, err)
	}
	server.FastForward(2 * time.Second)
	if ok, err := alive(t, rdb, "w"); err != nil || ok {
		t.Errorf("6 s after a heartbeat: alive %t, %v", ok, err)
	}
	if ws, err := Workers(t.Context(), rdb); err != nil || len(ws) != 0 {
		t.Errorf("workers: %+v, %v; want none", ws, err)
	}
}

func TestWorkerServesAndKnowsWhatItSays(t *testing.T) {
	for queue, want := range map[string]bool{"q": true, "off": false, "other": false, "": false} {
		if worker1.Serves(queue) != want {
			t.Errorf("serves %q: %t", queue, !want)
		}
	}
	for task, want := range map[string]bool{"square": true, "cube": true, "squ": false, "": false} {
		if worker1.Knows(task) != want {
			t.Errorf("knows %q: %t", task, !want)
		}
	}
}

func TestAnEntryThatDoesNotParseHidesNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, id := range []string{"good", "bad"} {
			if err := Register(t.Context(), rdb, Worker{ID: id}, Lifetime); err != nil {
				t.Fatal(err)
			}
		}
		rdb.Set(t.Context(), workerPrefix+"bad", `{"id":"good"}`, Lifetime)
		if ws, err := Workers(t.Context(), rdb); err != nil || len(ws) != 1 || ws[0].ID != "good" {
			t.Errorf("workers: %+v, %v; want the good one", ws, err)
		}
	})
}

func alive(t *testing.T, rdb redis.UniversalClient, worker string) (bool, error) {
	return Owners{rdb}.IsAlive(t.Context(), worker)
}
