package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/record"
)

// Rules of a producer from before it asked workers refuse the question.
func TestLostChunksAreIssuedAlsoIfTheWorkerOfAnotherCannotBeAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		submit(t, b, "q/j", 3, 1)
		for chunk, worker := range []string{"alive", "dead"} {
			if _, err := record.Begin(t.Context(), rdb, record.Ref{ID: "q/j"}, chunk, worker, "", 3); err != nil {
				t.Fatal(err)
			}
		}
		if err := fleet.Register(t.Context(), rdb, fleet.Worker{ID: "alive"}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := asynq.NewInspectorFromRedisClient(rdb).DeleteAllPendingTasks("q"); err != nil {
			t.Fatal(err)
		}
		questions := "distpool:@{workers}:ask:alive"
		rdb.Set(t.Context(), questions, "no list", 0)
		n, err := b.Revive(t.Context(), record.Ref{ID: "q/j"}, "q", "square")
		if n != 2 || err == nil {
			t.Errorf("%d chunks were issued again, %v; want 2 and the error of the question", n, err)
		}
		wantPending(t, rdb, "j:1:1", "j:2:1")

		rdb.Del(t.Context(), questions)
		n, err = b.Revive(t.Context(), record.Ref{ID: "q/j"}, "q", "square")
		if asked, err := fleet.Asked(t.Context(), rdb, "alive"); n != 0 || err != nil || len(asked) != 1 || asked[0].Chunk != 0 {
			t.Errorf("later %d were issued again, and it was asked for %+v, %v; want 0, and chunk 0", n, asked, err)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// The head of the list is dated by another clock, one that is right.
func TestDeliveriesOfAClockAnHourBehindAreNotTakenForLost(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		submit(t, b, "q/head", 1, 1)
		submit(t, b, "q/j", 8, 1)
		var ids []string
		for chunk := range 8 {
			ids = append(ids, fmt.Sprintf("j:%d:1", chunk))
			rdb.HSet(t.Context(), "asynq:{q}:t:"+ids[chunk], "pending_since", time.Now().Add(-time.Hour).UnixNano())
		}
		for range 10 {
			if n, err := b.Revive(t.Context(), record.Ref{ID: "q/j"}, "q", "square"); n != 0 || err != nil {
				t.Fatalf("%d chunks were issued again, %v; want 0", n, err)
			}
		}
		wantPending(t, rdb, append([]string{"head:0:1"}, ids...)...)
		for _, id := range ids {
			rdb.LRem(t.Context(), "asynq:{q}:pending", 1, id)
		}
		if n, err := b.Revive(t.Context(), record.Ref{ID: "q/j"}, "q", "square"); n != 8 || err != nil {
			t.Errorf("%d chunks were issued again, %v; want all 8, which are lost", n, err)
		}
	})
}
