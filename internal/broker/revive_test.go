package broker

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// Rules of a producer from before it asked workers refuse the question.
func TestLostChunksAreIssuedAlsoIfTheWorkerOfAnotherCannotBeAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb *redis.Client, b *Broker) {
		submit(t, b, "j", 3, 1)
		for chunk, worker := range []string{"alive", "dead"} {
			if _, err := record.Begin(t.Context(), rdb, record.Ref{ID: "j"}, chunk, worker, "", 3); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := record.Beat(t.Context(), rdb, record.Worker{ID: "alive"}, time.Minute, true); err != nil {
			t.Fatal(err)
		}
		if _, err := asynq.NewInspectorFromRedisClient(rdb).DeleteAllPendingTasks("q"); err != nil {
			t.Fatal(err)
		}
		questions := "distpool:@{workers}:ask:alive"
		rdb.Set(t.Context(), questions, "no list", 0)
		n, err := b.Revive(t.Context(), record.Ref{ID: "j"}, "q", "square")
		if n != 2 || err == nil {
			t.Errorf("%d chunks were issued again, %v; want 2 and the error of the question", n, err)
		}
		wantPending(t, rdb, "j:1:1", "j:2:1")

		rdb.Del(t.Context(), questions)
		n, err = b.Revive(t.Context(), record.Ref{ID: "j"}, "q", "square")
		if asked, err := record.Asked(t.Context(), rdb, "alive"); n != 0 || err != nil || len(asked) != 1 || asked[0].Chunk != 0 {
			t.Errorf("later %d were issued again, and it was asked for %+v, %v; want 0, and chunk 0", n, asked, err)
		}
		if err != nil {
			t.Error(err)
		}
	})
}
