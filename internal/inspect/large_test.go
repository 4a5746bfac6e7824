package inspect_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

func TestJobsThatWorkersGaveUpCountAsCanceled(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		for _, giveUp := range []func() (record.State, error){
			func() (record.State, error) { return record.Refuse(t.Context(), rdb, "q/j", "no signature") },
			func() (record.State, error) {
				return record.Vanish(t.Context(), rdb, record.Ref{ID: "q/j"}, "no arguments")
			},
		} {
			create(t, rdb, record.Job{ID: "q/j", Task: "square", Chunks: 1, Sealed: true}, 1)
			if s, err := giveUp(); err != nil || s != record.Canceled {
				t.Fatalf("it answers %q, %v", s, err)
			}
			d, err := in.Job(t.Context(), "q/j", 10)
			if err != nil || d.Status != inspect.Canceled || !strings.HasPrefix(d.Reason, "no ") {
				t.Errorf("the job is %q for %q, %v; want it canceled, and why", d.Status, d.Reason, err)
			}
			if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What people are shown of arguments does not depend on how they travel.
func TestLargeAndRawArgumentsAreShownAsJSON(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		data := bytes.Repeat([]byte{0xfb, 0xff}, record.LargeFrame/2)
		frame := wire.EncodeArgs(0, 2, rawbytes.Encode([][]byte{nil, data}))
		j := record.Job{
			ID: "q/j", Task: "t", Codec: "json", Calls: 2, Chunks: 1, Sealed: true, OpenTTL: time.Hour, ResultTTL: time.Hour,
		}
		if err := record.Create(j, []record.Chunk{{Args: frame, Apart: true}}).Run(t.Context(), rdb).Err(); err != nil {
			t.Fatal(err)
		}
		want := `"` + base64.StdEncoding.EncodeToString(data)[:19]
		d := wire.Delivery{Job: "q/j", Number: 1}
		if _, p, ok := in.Delivery(t.Context(), d.Encode(), 26); !ok || p.Text != "[null,"+want || !p.Cut {
			t.Errorf("the delivery is shown as %+v, want [null,%s", p, want)
		}
		failed := wire.Outcome{Calls: 2, Errors: []wire.CallError{{Call: 1, Kind: wire.KindError, Message: "no"}}, Values: bytes.Repeat([]byte("1"), record.LargeFrame)}.Encode()
		if r, err := (record.Recording{Outcome: failed, Calls: 2, Failed: 1, Apart: true}).Run(t.Context(), rdb, record.Ref{ID: "q/j"}, 0); err != nil || r != record.OK {
			t.Fatalf("record answers %q, %v", r, err)
		}
		page, err := in.FailedCalls(t.Context(), "q/j", inspect.FailedQuery{Preview: 20})
		if err != nil || len(page.Calls) != 1 || page.Calls[0].Args.Text != want || !page.Calls[0].Args.Cut {
			t.Fatalf("the failed calls are %+v, %v; want one on %s", page, err, want)
		}
		// Both are counted before they are read.
		huge := record.Chunk{Args: wire.EncodeArgs(0, 1, make([]byte, 9<<20)), Apart: true}
		if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
			t.Fatal(err)
		}
		j.Calls = 1
		if err := record.Create(j, []record.Chunk{huge}).Run(t.Context(), rdb).Err(); err != nil {
			t.Fatal(err)
		}
		if _, p, _ := in.Delivery(t.Context(), d.Encode(), 20); !strings.Contains(p.Note, "too many to be shown") {
			t.Errorf("a delivery of 9 MiB is shown as %+v", p)
		}
		if r, err := (record.Recording{Outcome: wire.Outcome{Calls: 1, Errors: []wire.CallError{{Kind: wire.KindError}}}.Encode(), Calls: 1, Failed: 1}).Run(t.Context(), rdb, record.Ref{ID: "q/j"}, 0); err != nil || r != record.OK {
			t.Fatalf("record answers %q, %v", r, err)
		}
		if page, err := in.FailedCalls(t.Context(), "q/j", inspect.FailedQuery{}); err != nil || len(page.TooLarge) != 1 {
			t.Errorf("the failed calls are %+v, %v; want a chunk that is too large", page, err)
		}
	})
}
