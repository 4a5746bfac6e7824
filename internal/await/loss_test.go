package await

import (
	"context"
	"errors"
	"testing"

	"github.com/distpool/distpool/internal/record"
)

func TestJobIsPolledAlsoAfterOneThatWasSettledByARead(t *testing.T) {
	h, _ := startHub(t)
	for range 20 {
		// Settled while the reader reads: it finds nothing outstanding afterwards.
		first := submitJob(t, h, "q/a", h.Channel(), 1)
		recordOut(t, h, "q/a", 0, "[0]", 0)
		wantOutcomes(t, first, "[0]")
		if _, err := record.Forget(context.Background(), h.rdb, "q/a"); err != nil {
			t.Fatal(err)
		}
		second := submitJob(t, h, "q/b", "", 1)
		recordOut(t, h, "q/b", 0, "[0]", 0)
		hush(second)
		wantOutcomes(t, second, "[0]")
		if _, err := record.Forget(context.Background(), h.rdb, "q/b"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJobWhoseOrderListIsDeletedExpires(t *testing.T) {
	h, rdb := startHub(t)
	j := submitJob(t, h, "q/a", "", 2)
	recordOut(t, h, "q/a", 0, "[0]", 1000)
	recordOut(t, h, "q/a", 1, "[1]", 1000)
	rdb.Del(t.Context(), record.Keys("q/a")[3])
	hush(j)
	waitDone(t, j.Done(), "the end")
	if !errors.Is(j.Err(), ErrExpired) {
		t.Errorf("error is %v, want ErrExpired", j.Err())
	}
}

func TestRecordOfAnotherTypeHoldsUpNoOtherJob(t *testing.T) {
	h, rdb := startHub(t)
	bad, good := submitJob(t, h, "q/bad", "", 2), submitJob(t, h, "q/good", "", 1)
	rdb.Set(t.Context(), record.Keys("q/bad")[0], "x", 0)
	recordOut(t, h, "q/good", 0, "[0]", 0)
	hush(bad)
	hush(good)
	wantOutcomes(t, good, "[0]")
}
