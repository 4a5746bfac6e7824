package supervise

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
)

// owners are Owners of which the worker "alive" lives, and cannot be asked.
type owners struct{}

func (owners) IsAlive(_ context.Context, worker string) (bool, error) { return worker == "alive", nil }

func (owners) Ask(context.Context, string, string, []job.Delivery) error {
	return errors.New("may not ask")
}

func submitMap(t *testing.T, rdb *redis.Client, name string, chunks int) job.Ref {
	t.Helper()
	ref := job.Ref{Name: name}
	all := make([]job.Chunk, chunks)
	for k := range all {
		d := job.Delivery{Ref: ref, Chunk: k, Number: 1}
		all[k] = job.Chunk{Number: k, Args: []byte("0 1\n[1]"), TaskID: d.TaskID(), Message: job.Message("q", "square", d, "", time.Time{})}
	}
	j := job.Job{Ref: ref, About: "1 square", Pool: "pool", Calls: chunks, Chunks: chunks, Life: time.Hour, TTL: time.Minute}
	if _, err := job.Submit(t.Context(), rdb, "q", []job.Submission{job.New(j, all)}); err != nil {
		t.Fatal(err)
	}
	return ref
}

// A user of Redis without the right to ask still gets its lost chunks issued again.
func TestLostChunksAreIssuedIfAnOwnerCannotBeAsked(t *testing.T) {
	_, _, rdb := start(t)
	ref := submitMap(t, rdb, "j", 3)
	take(t, rdb, "alive", 1)
	take(t, rdb, "dead", 1)
	for _, id := range []string{"j:1:1", "j:2:1"} { // as deleting them with asynq's tools does
		rdb.Del(t.Context(), asynqfmt.TaskKey("q", id))
		rdb.LRem(t.Context(), asynqfmt.ActiveKey("q"), 0, id)
		rdb.LRem(t.Context(), asynqfmt.PendingKey("q"), 0, id)
	}
	n, err := Revive(t.Context(), rdb, owners{}, "q", ref, 3)
	if n != 2 || err == nil {
		t.Errorf("%d chunks were issued again, %v; want 2 and the error of the question", n, err)
	}
	if got := len(list(t, rdb, asynqfmt.PendingKey("q"))); got != 2 {
		t.Errorf("%d deliveries are pending, want 2", got)
	}
}

// asynq's tools date what they make pending by their own clock. The head of the list is dated
// by a clock that is right.
func TestDeliveriesOfAClockAnHourBehindAreNotTakenForLost(t *testing.T) {
	_, _, rdb := start(t)
	submitMap(t, rdb, "head", 1)
	ref := submitMap(t, rdb, "j", 8)
	for chunk := range 8 {
		rdb.HSet(t.Context(), asynqfmt.TaskKey("q", fmt.Sprintf("j:%d:1", chunk)), "pending_since", time.Now().Add(-time.Hour).UnixNano())
	}
	for range 10 {
		if n, err := Revive(t.Context(), rdb, owners{}, "q", ref, 8); n != 0 || err != nil {
			t.Fatalf("%d chunks were issued again, %v; want 0", n, err)
		}
	}
	for chunk := range 8 {
		rdb.LRem(t.Context(), asynqfmt.PendingKey("q"), 1, fmt.Sprintf("j:%d:1", chunk))
	}
	if n, err := Revive(t.Context(), rdb, owners{}, "q", ref, 8); n != 8 || err != nil {
		t.Errorf("%d chunks were issued again, %v; want all 8, which are lost", n, err)
	}
}
