package inspect_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
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
			states, err := job.Cancel(t.Context(), rdb, lane, why.Because("no luck"), d.Ref)
			if err != nil || states[0] != job.Canceled {
				t.Fatalf("it answers %q, %v", states, err)
			}
			found, err := in.Job(t.Context(), "q/j", 10)
			if err != nil || found.Status != inspect.Canceled || found.Reason != "no luck" {
				t.Errorf("the job is %q for %q, %v; want it canceled, and why", found.Status, found.Reason, err)
			}
			if _, err := job.Forget(t.Context(), rdb, lane, d.Ref); err != nil {
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

func TestAHundredThousandChunksAreEstimatedFromASample(t *testing.T) {
	rdb := redistestClient(t)
	in := inspect.New(rdb)
	// The first half has its outcomes.
	const n = 100_000
	key := job.Key("q", "j")
	err := rdb.HSet(t.Context(), key, "about", "1 t", "reply", "pool", "calls", n, "chunks", n,
		"recorded", n/2, "done", n/2, "created", time.Now().UnixMilli()).Err()
	if err != nil {
		t.Fatal(err)
	}
	for at := n / 2; at < n; at += 1000 {
		var fields []any
		for k := at; k < at+1000; k++ {
			fields = append(fields, fmt.Sprintf("args:%d", k), "x")
		}
		if err := rdb.HSet(t.Context(), key, fields...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	d := read(t, in, "q/j", 400)
	if !d.Sampled || len(d.Cells) != 400 {
		t.Fatalf("%d cells, sampled: %t", len(d.Cells), d.Sampled)
	}
	for i, c := range d.Cells {
		want := c.Chunks
		if i >= 200 {
			want = 0
		}
		if c.Done != want {
			t.Errorf("cell %d has %d of %d done, want %d", i, c.Done, c.Chunks, want)
		}
	}
}

func TestFailedAndRunningChunksOfALargeJobAreFound(t *testing.T) {
	rdb := redistestClient(t)
	in := inspect.New(rdb)
	const n = 45_000
	key := job.Key("q", "j")
	fields := []any{"about", "1 t", "reply", "pool", "calls", n, "chunks", n, "recorded", 3, "done", 3, "failed", 3, "created", time.Now().UnixMilli()}
	failed := []int{10, 20_000, n - 1}
	for k := range n {
		if slices.Contains(failed, k) {
			o := wire.Outcome{First: k, Calls: 1, Errors: []wire.CallError{{Kind: wire.KindError, Message: "no"}}, Values: []byte("[0]")}
			fields = append(fields, fmt.Sprintf("out:%d", k), o.Encode(), fmt.Sprintf("kept:%d", k), wire.EncodeArgs(k, 1, []byte("[7]")))
		} else {
			fields = append(fields, fmt.Sprintf("args:%d", k), "x")
		}
	}
	for part := range slices.Chunk(fields, 1000) {
		if err := rdb.HSet(t.Context(), key, part...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rdb.HSet(t.Context(), key, "own:30000", "w 1700000000000 1")
	rdb.LPush(t.Context(), asynqfmt.ActiveKey("q"), "j:30000:1", "other:5:1")
	if d := read(t, in, "q/j", 400); !d.Sampled || d.RunsAll != 1 || len(d.Runs) != 1 || d.Runs[0].Chunk != 30_000 || d.Runs[0].Owner != "w" {
		t.Errorf("sampled: %t, %d run: %+v; want chunk 30000 on w", d.Sampled, d.RunsAll, d.Runs)
	}
	var found []int
	for q := (inspect.FailedQuery{Limit: 1}); ; {
		p, err := in.FailedCalls(t.Context(), "q/j", q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Calls {
			found = append(found, c.Call)
			if c.Args.Text != "7" {
				t.Errorf("its arguments are %+v", c.Args)
			}
		}
		if q = p.Next; !p.More {
			break
		}
	}
	if !slices.Equal(found, failed) {
		t.Errorf("in pages of one, calls %v failed; want %v", found, failed)
	}
	found = nil
	err := in.EachFailedChunk(t.Context(), "q/j", func(c inspect.FailedChunk) error {
		found = append(found, c.Chunk)
		return nil
	})
	if err != nil || !slices.Equal(found, failed) {
		t.Errorf("chunks %v failed, %v; want %v", found, err, failed)
	}
}
