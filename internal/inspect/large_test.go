package inspect_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/internal/wire"
)

func TestJobsThatWorkersGaveUpCountAsCanceled(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		lane, d := place(t, rdb, "q/j", 0, 1)
		for _, why := range []job.State{job.Untrusted, job.Missing, job.Corrupt} {
			create(t, rdb, testJob{ID: "q/j", Task: "square", Chunks: 1}, 1)
			states, err := job.Cancel(t.Context(), rdb, lane, job.Publish, why.Because("no luck"), d.Ref)
			if err != nil || states[0] != job.Canceled {
				t.Fatalf("it answers %q, %v", states, err)
			}
			found, err := in.Job(t.Context(), "q/j", 10)
			if err != nil || found.Status != inspect.Canceled || found.Reason != "no luck" {
				t.Errorf("the job is %q for %q, %v; want it canceled, and why", found.Status, found.Reason, err)
			}
			if _, err := job.Forget(t.Context(), rdb, lane, job.Publish, d.Ref); err != nil {
				t.Fatal(err)
			}
			if err := job.Withdraw(t.Context(), rdb, lane, job.Unwanted{Ref: d.Ref, Chunks: []int{0}}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What people are shown of arguments does not depend on how they travel.
func TestLargeAndRawArgumentsAreShownAsJSON(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		data := bytes.Repeat([]byte{0xfb, 0xff}, job.LargeFrame/2)
		frame := wire.EncodeArgs(0, 2, rawbytes.Encode([][]byte{nil, data}))
		createOf(t, rdb, testJob{ID: "q/j", Task: "t", Chunks: 1}, 2, [][]byte{frame})
		want := `"` + base64.StdEncoding.EncodeToString(data)[:19]
		payload := []byte(`{"job":"q/j","chunk":0}`)
		if _, p, ok := in.Delivery(t.Context(), payload, 26); !ok || p.Text != "[null,"+want || !p.Cut {
			t.Errorf("the delivery is shown as %+v, want [null,%s", p, want)
		}
		begin(t, rdb, "q/j", 0, 1, "w")
		no := wire.CallError{Call: 1, Kind: wire.KindError, Message: "no"}
		recOf(t, rdb, "q/j", 0, wire.Outcome{Calls: 2, Errors: []wire.CallError{no}, Values: bytes.Repeat([]byte("1"), job.LargeFrame)}, 0)
		page, err := in.FailedCalls(t.Context(), "q/j", inspect.FailedQuery{Preview: 20})
		if err != nil || len(page.Calls) != 1 || page.Calls[0].Args.Text != want || !page.Calls[0].Args.Cut {
			t.Fatalf("the failed calls are %+v, %v; want one on %s", page, err, want)
		}
		// Both are counted before they are read.
		createOf(t, rdb, testJob{ID: "q/huge", Task: "t", Chunks: 1}, 1, [][]byte{wire.EncodeArgs(0, 1, make([]byte, 9<<20))})
		if _, p, _ := in.Delivery(t.Context(), []byte(`{"job":"q/huge","chunk":0}`), 20); !strings.Contains(p.Note, "too many to be shown") {
			t.Errorf("a delivery of 9 MiB is shown as %+v", p)
		}
		begin(t, rdb, "q/huge", 0, 1, "w")
		recOf(t, rdb, "q/huge", 0, wire.Outcome{Calls: 1, Errors: []wire.CallError{{Kind: wire.KindError}}}, 0)
		if page, err := in.FailedCalls(t.Context(), "q/huge", inspect.FailedQuery{}); err != nil || len(page.TooLarge) != 1 {
			t.Errorf("the failed calls are %+v, %v; want a chunk that is too large", page, err)
		}
	})
}
