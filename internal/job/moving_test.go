package job

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestNothingRunsOnALaneThatMoves moves a lane's slot from one master to another by hand, and
// stops in the middle: the job is on one of them, and its delivery on the other.
func TestNothingRunsOnALaneThatMoves(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ok := rdb.(*redis.ClusterClient)
		if !ok {
			t.Skip("only a Cluster moves slots")
		}
		for i, moved := range []string{Key(lane, "j"), "asynq:{q}:pending", "asynq:{q}:t:k:0:1"} {
			submit(t, rdb, Sealed, newCall(lane, "j"), newCall(lane, "k"))
			running := take(t, rdb, 1)[0] // j
			from, to := moveHalf(t, c, moved)
			short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if taken, err := Take(short, rdb, lane, Taking{Worker: worker, Most: 5, Room: 1 << 20, Now: time.Now()}); err == nil {
				t.Errorf("move %d: took %+v while the slot moves", i, taken)
			}
			f := Finishing{Worker: worker, Now: time.Now()}
			if answers, err := Finish(short, rdb, lane, f, []Finished{done(running)}); err == nil {
				t.Errorf("move %d: finish answers %v while the slot moves", i, answers)
			}
			if states, err := Submit(short, rdb, lane, []Submission{newCall(lane, "l")}); err == nil {
				t.Errorf("move %d: submit answers %v while the slot moves", i, states)
			}
			cancel()
			moveRest(t, c, from, to)
			finish(t, rdb, OK, done(running))
			if taken := take(t, rdb, 5); len(taken) != 1 || taken[0].Name != "k" {
				t.Fatalf("move %d: took %+v, want k", i, taken)
			}
			if _, err := Forget(t.Context(), rdb, lane, Ref{Name: "j"}, Ref{Name: "k"}); err != nil {
				t.Fatal(err)
			}
			rdb.Del(t.Context(), "asynq:{q}:active", "asynq:{q}:lease", "asynq:{q}:t:k:0:1")
		}
	})
}

// moveHalf begins to move the test's slot, and moves one key.
func moveHalf(t *testing.T, c *redis.ClusterClient, key string) (from, to *redis.Client) {
	t.Helper()
	ctx := t.Context()
	from, err := c.MasterForKey(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cluster.setup.Servers {
		if s.Addr() != from.Options().Addr {
			to = redis.NewClient(&redis.Options{Addr: s.Addr()})
		}
	}
	t.Cleanup(func() { to.Close() })
	slot := int(from.ClusterKeySlot(ctx, Key(lane, "j")).Val())
	fromID, toID := from.Do(ctx, "CLUSTER", "MYID").Val(), to.Do(ctx, "CLUSTER", "MYID").Val()
	must(t, to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID).Err())
	must(t, from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID).Err())
	migrate(t, from, to, key)
	return from, to
}

func migrate(t *testing.T, from, to *redis.Client, keys ...string) {
	t.Helper()
	host, port, _ := strings.Cut(to.Options().Addr, ":")
	args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
	for _, key := range keys {
		args = append(args, key)
	}
	must(t, from.Do(t.Context(), args...).Err())
}

// moveRest moves the other keys, and gives the slot to its new master.
func moveRest(t *testing.T, c *redis.ClusterClient, from, to *redis.Client) {
	t.Helper()
	ctx := t.Context()
	slot := int(from.ClusterKeySlot(ctx, Key(lane, "j")).Val())
	left, err := from.ClusterGetKeysInSlot(ctx, slot, 1000).Result()
	must(t, err)
	if len(left) > 0 {
		migrate(t, from, to, left...)
	}
	toID := to.Do(ctx, "CLUSTER", "MYID").Val()
	must(t, to.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID).Err())
	must(t, from.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID).Err())
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c.ReloadState(ctx)
		master, err := c.MasterForKey(ctx, Key(lane, "j"))
		if err == nil && master.Options().Addr == to.Options().Addr {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the client does not learn of the slot's new master: %v", err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
