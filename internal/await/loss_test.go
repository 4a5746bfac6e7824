package await

import (
	"context"
	"errors"
	"testing"

	"github.com/distpool/distpool/internal/job"
)

func TestJobIsPolledAlsoAfterOneThatWasSettledByARead(t *testing.T) {
	h, _ := startHub(t)
	for range 20 {
		// Settled while the reader reads: it finds nothing outstanding afterwards.
		first := submitJob(t, h, "a", h.Pool, 1)
		recordOut(t, h, "a", 0, "[0]", 0)
		wantOutcomes(t, first, "[0]")
		if _, err := job.Forget(context.Background(), h.Redis, "q", job.Ref{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		second := submitJob(t, h, "b", "", 1)
		recordOut(t, h, "b", 0, "[0]", 0)
		hush(second)
		wantOutcomes(t, second, "[0]")
		if _, err := job.Forget(context.Background(), h.Redis, "q", job.Ref{Name: "b"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJobWhoseOrderIsDeletedExpires(t *testing.T) {
	h, rdb := startHub(t)
	j := submitJob(t, h, "a", "", 2)
	recordOut(t, h, "a", 0, "[0]", 1000)
	recordOut(t, h, "a", 1, "[1]", 1000)
	rdb.HDel(t.Context(), job.Key("q", "a"), "order:0", "order:1")
	hush(j)
	waitDone(t, j.Done(), "the end")
	if !errors.Is(j.Err(), ErrExpired) {
		t.Errorf("error is %v, want ErrExpired", j.Err())
	}
}

func TestRecordOfAnotherTypeHoldsUpNoOtherJob(t *testing.T) {
	h, rdb := startHub(t)
	bad, good := submitJob(t, h, "bad", "", 2), submitJob(t, h, "good", "", 1)
	rdb.Set(t.Context(), job.Key("q", "bad"), "x", 0)
	recordOut(t, h, "good", 0, "[0]", 0)
	hush(bad)
	hush(good)
	wantOutcomes(t, good, "[0]")
}
