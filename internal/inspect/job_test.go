package inspect_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleettest"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
)

func read(t *testing.T, in *inspect.Inspector, id string, cells int) inspect.Detail {
	t.Helper()
	d, err := in.Job(t.Context(), id, cells)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sum adds up cells, and checks that they are all of the job's chunks, in order.
func sum(t *testing.T, d inspect.Detail) inspect.Cell {
	t.Helper()
	var s inspect.Cell
	for _, c := range d.Cells {
		if c.First != s.Chunks || c.Chunks < 1 || c.Done < 0 || c.Failed < 0 || c.Running < 0 || c.Done+c.Failed+c.Running > c.Chunks {
			t.Errorf("cell %+v after %d chunks", c, s.Chunks)
		}
		s.Chunks, s.Done, s.Failed, s.Running = s.Chunks+c.Chunks, s.Done+c.Done, s.Failed+c.Failed, s.Running+c.Running
	}
	if s.Chunks != d.Chunks {
		t.Errorf("the cells have %d chunks of %d", s.Chunks, d.Chunks)
	}
	return s
}

func TestChunksAreCountedIntoCells(t *testing.T) {
	test := func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		create(t, rdb, testJob{ID: "q/j", Task: "t", Chunks: 10}, 2)
		begin(t, rdb, "q/j", 0, 1, "dead")
		die(t, rdb, "q/j", 0, "dead")
		begin(t, rdb, "q/j", 0, 2, "w1") // taken over
		rec(t, rdb, "q/j", 0, 2, 3*time.Second)
		begin(t, rdb, "q/j", 1, 1, "w1")
		rec(t, rdb, "q/j", 1, 2, 5*time.Second, 1)
		begin(t, rdb, "q/j", 9, 1, "dead")
		die(t, rdb, "q/j", 9, "dead")
		begin(t, rdb, "q/j", 9, 2, "w2")
		begin(t, rdb, "q/j", 8, 1, "w1")
		lane, d := place(t, rdb, "q/j", 8, 1)
		back := job.Return(d, nil, 0, job.Tail, job.Message(lane, "t", d, "", time.Time{}))
		if answers, err := job.Finish(t.Context(), rdb, lane, job.Finishing{Worker: "w1", Now: time.Now()}, []job.Finished{back}); err != nil || answers[0] != job.OK {
			t.Fatal(answers, err)
		}
		for _, n := range []int{1, 3, 10, 500} {
			d := read(t, in, "q/j", n)
			if len(d.Cells) != min(n, 10) || d.Sampled {
				t.Errorf("%d cells, sampled: %t; want %d", len(d.Cells), d.Sampled, min(n, 10))
			}
			if s := sum(t, d); s.Done != 1 || s.Failed != 1 || s.Running != 1 || s.Waiting() != 7 {
				t.Errorf("in %d cells: %+v, want 1 done, 1 failed, 1 running", n, s)
			}
		}
		now := read(t, in, "q/j", 10)
		if d := now; d.Status != inspect.Running || d.Deaths != 2 || d.RunsAll != 1 || !slices.Equal(d.Workers, []string{"w2"}) {
			t.Errorf("status %s, %d deaths, %d runs, workers %q", d.Status, d.Deaths, d.RunsAll, d.Workers)
		}
		if c := now.Cells[9]; c.Running != 1 {
			t.Errorf("the last cell is %+v, want it running", c)
		}
		i := slices.IndexFunc(now.Runs, func(r inspect.ChunkRun) bool { return r.Chunk == 9 })
		if i < 0 || now.Runs[i].Owner != "w2" || now.Runs[i].Deaths != 1 || time.Since(time.UnixMilli(now.Runs[i].Since)).Abs() > fleettest.Patience {
			t.Errorf("the runs are %+v", now.Runs)
		}
		if slow := now.Slow; len(slow) != 2 || slow[0].Took != 5*time.Second || slow[0].Call != 2 || slow[1].Took != 3*time.Second {
			t.Errorf("the slowest calls are %+v", slow)
		}
		for _, k := range []int{2, 3, 4, 5, 6, 7, 8} {
			begin(t, rdb, "q/j", k, 1, "w2")
			rec(t, rdb, "q/j", k, 2, time.Millisecond)
		}
		rec(t, rdb, "q/j", 9, 2, time.Millisecond)
		end := read(t, in, "q/j", 5)
		if s := sum(t, end); s.Done != 9 || s.Failed != 1 || end.Status != inspect.Failed || len(end.Runs) != 0 {
			t.Errorf("at the end: %+v, %s, runs %v", s, end.Status, end.Runs)
		}
	}
	onBoth(t, test)
	onCluster(t, test)
}

func TestCanceledJobShowsWhatItHasDone(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		create(t, rdb, testJob{ID: "q/j", Task: "t", Chunks: 5}, 1)
		begin(t, rdb, "q/j", 0, 1, "w")
		rec(t, rdb, "q/j", 0, 1, 0, 0)
		begin(t, rdb, "q/j", 3, 1, "w")
		rec(t, rdb, "q/j", 3, 1, 0)
		begin(t, rdb, "q/j", 4, 1, "w")
		if s, err := in.Cancel(t.Context(), "q/j"); err != nil || s != job.Canceled {
			t.Fatal(s, err)
		}
		lane, of := place(t, rdb, "q/j", 0, 1)
		if err := job.DropArguments(t.Context(), rdb, lane, job.Unwanted{Ref: of.Ref, Chunks: []int{1, 2, 3, 4}}); err != nil {
			t.Fatal(err)
		}
		d := read(t, in, "q/j", 5)
		if d.Cells[1].Waiting() != 1 || d.Cells[2].Waiting() != 1 || d.Cells[3].Done != 1 || d.Cells[4].Waiting() != 1 || d.Sampled {
			t.Errorf("the cells are %+v", d.Cells)
		}
		if s := sum(t, d); s.Done != 1 || s.Failed != 1 || s.Running != 0 || d.Status != inspect.Canceled || d.Reason != inspect.CancelReason || len(d.Runs) != 0 {
			t.Errorf("canceled: %+v, %s (%s), runs %v", s, d.Status, d.Reason, d.Runs)
		}
		p, err := in.FailedCalls(t.Context(), "q/j", inspect.FailedQuery{})
		if err != nil || len(p.Calls) != 1 || p.Calls[0].Args.Text != `{"call":0}` {
			t.Errorf("its failed calls are %+v, %v", p, err)
		}
		for _, key := range rdb.Keys(t.Context(), "distpool:{q}:*").Val() {
			if rdb.TTL(t.Context(), key).Val() <= 0 {
				t.Errorf("%s lives for ever", key)
			}
		}
	})
}

func TestFailedCallsComeInPagesWithTheirArguments(t *testing.T) {
	test := func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		create(t, rdb, testJob{ID: "q/j", Task: "t", Chunks: 12}, 3)
		for k := range 12 {
			begin(t, rdb, "q/j", k, 1, "w")
			if k%2 == 0 {
				rec(t, rdb, "q/j", k, 3, 0, 0, 2)
			} else {
				rec(t, rdb, "q/j", k, 3, 0)
			}
		}
		for _, limit := range []int{1, 5, 12, 100} {
			q, n := inspect.FailedQuery{Limit: limit}, 0
			for {
				p, err := in.FailedCalls(t.Context(), "q/j", q)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range p.Calls {
					want := n/2*6 + n%2*2
					if c.Call != want || c.Args.Text != fmt.Sprintf(`{"call":%d}`, want) || c.Error.Stack == "" || c.Chunk != want/3 {
						t.Errorf("failed call %d is %+v, want call %d", n, c, want)
					}
					n++
				}
				if q = p.Next; !p.More {
					break
				}
			}
			if n != 12 {
				t.Errorf("in pages of %d there are %d failed calls, want 12", limit, n)
			}
		}
		var chunks []int
		err := in.EachFailedChunk(t.Context(), "q/j", func(c inspect.FailedChunk) error {
			chunks = append(chunks, c.Chunk)
			if want := fmt.Sprintf(`[{"call":%d},{"call":%d},{"call":%d}]`, c.First, c.First+1, c.First+2); string(c.Args) != want || c.Calls != 3 || len(c.Error) != 2 {
				t.Errorf("chunk %d is %+v", c.Chunk, c)
			}
			return nil
		})
		if err != nil || !slices.Equal(chunks, []int{0, 2, 4, 6, 8, 10}) {
			t.Errorf("the failed chunks are %v, %v", chunks, err)
		}
		stop := errors.New("stop")
		if err := in.EachFailedChunk(t.Context(), "q/j", func(inspect.FailedChunk) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("the error of the function is lost: %v", err)
		}
	}
	onBoth(t, test)
	onCluster(t, test)
}

func TestArgumentsOfFailedCallsAreKeptUpToALimit(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		large := append(append([]byte(`["`), strings.Repeat("x", 20<<20)...), `"]`...)
		var frames [][]byte
		for k := range 4 {
			frames = append(frames, wire.EncodeArgs(k, 1, large))
		}
		createOf(t, rdb, testJob{ID: "q/j", Task: "t", Chunks: 4}, 1, frames)
		for k := range 4 {
			begin(t, rdb, "q/j", k, 1, "w")
			rec(t, rdb, "q/j", k, 1, 0, 0)
		}
		kept := 0
		err := in.EachFailedChunk(t.Context(), "q/j", func(c inspect.FailedChunk) error {
			if c.Args != nil {
				kept++
			}
			return nil
		})
		if err != nil || kept != 3 {
			t.Errorf("the arguments of %d chunks of 20 MiB are kept, %v; want 3, which are under 64 MiB", kept, err)
		}
		p, err := in.FailedCalls(t.Context(), "q/j", inspect.FailedQuery{})
		if err != nil || len(p.TooLarge) != 3 || len(p.Calls) != 1 || p.Calls[0].Args.Note == "" {
			t.Errorf("the page is %+v, %v; want it to leave out the three large ones", p, err)
		}
	})
}

func TestRealJobsAreReadToTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in, f := inspect.New(rdb), start(t, rdb)
		m, err := producer.MapAsync(t.Context(), f.pool, fail, []int{0, 1, 2, 3, 4}, producer.ChunkSize(2))
		if err != nil {
			t.Fatal(err)
		}
		one, err := producer.ApplyAsync(t.Context(), f.pool, fail, 7)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = m.Get(t.Context())
		_, _ = one.Get(t.Context())
		d := read(t, in, m.ID(), 100)
		if s := sum(t, d); d.Status != inspect.Failed || d.Failed != 2 || s.Failed != 2 || s.Done != 1 || len(d.Slow) == 0 || d.Slow[0].Worker == "" {
			t.Errorf("the map reads %+v, cells %+v", d, s)
		}
		p, err := in.FailedCalls(t.Context(), m.ID(), inspect.FailedQuery{})
		if err != nil || len(p.Calls) != 2 || p.Calls[0].Args.Text != "1" || p.Calls[1].Args.Text != "3" || p.Calls[1].Error.Message != "3 is odd" {
			t.Errorf("its failed calls are %+v, %v", p, err)
		}
		d = read(t, in, one.ID(), 100)
		if waited, ok := d.Waited(); d.Status != inspect.Failed || !ok || waited > fleettest.Patience || len(d.Cells) != 1 || d.Cells[0].Failed != 1 {
			t.Errorf("the single call reads %+v", d)
		}
		p, err = in.FailedCalls(t.Context(), one.ID(), inspect.FailedQuery{})
		if err != nil || len(p.Calls) != 1 || p.Calls[0].Args.Text != "7" {
			t.Errorf("its failed call is %+v, %v", p, err)
		}
		held, err := producer.ApplyAsync(t.Context(), f.pool, hold, 1)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the call is held by the worker", func() bool {
			d = read(t, in, held.ID(), 1)
			return d.Status == inspect.Running && len(d.Workers) == 1 && strings.HasPrefix(d.Workers[0], "host:")
		})
		if s, err := in.Cancel(t.Context(), held.ID()); err != nil || s != job.Canceled {
			t.Errorf("cancel answers %s, %v", s, err)
		}
		if _, err := held.Get(t.Context()); err == nil {
			t.Error("a canceled call has a value")
		}
	})
}

func TestAStreamKeepsNoArgumentsOfWhatWasTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		f, in := start(t, rdb), inspect.New(rdb)
		args := make([]int, 300)
		for i := range args {
			args[i] = 2*i + 1 // all of them fail
		}
		n := 0
		for _, err := range producer.IMap(t.Context(), f.pool, fail, slices.Values(args), producer.ChunkSize(5), producer.Window(20)) {
			if err == nil {
				t.Fatal("an odd number is a success")
			}
			if n++; n < 200 {
				continue
			}
			var id string
			eventually(t, "the stream is listed", func() bool {
				p := jobs(t, in, inspect.Query{})
				if len(p.Jobs) == 1 {
					id = p.Jobs[0].ID
				}
				return id != ""
			})
			lane, d := place(t, rdb, id, 0, 1)
			fields := rdb.HKeys(t.Context(), job.Key(lane, d.Name)).Val()
			fields = slices.DeleteFunc(fields, func(f string) bool { return !strings.HasPrefix(f, "kept:") })
			if len(fields) > 30 {
				t.Errorf("after %d failed calls the stream keeps the arguments of %d chunks", n, len(fields))
			}
			break
		}
	})
}

func TestUnknownJobIsSaidToBe(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		for _, id := range []string{"nobody", "", "a b", "{x}", strings.Repeat("x", 200)} {
			if _, err := in.Job(t.Context(), id, 10); !errors.Is(err, inspect.ErrNoJob) {
				t.Errorf("reading %q: %v", id, err)
			}
			if _, err := in.Cancel(t.Context(), id); !errors.Is(err, inspect.ErrNoJob) {
				t.Errorf("canceling %q: %v", id, err)
			}
			if _, err := in.FailedCalls(t.Context(), id, inspect.FailedQuery{}); !errors.Is(err, inspect.ErrNoJob) {
				t.Errorf("the failed calls of %q: %v", id, err)
			}
		}
	})
}

func TestDeliveriesAreDescribedByTheirArguments(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		in := inspect.New(rdb)
		create(t, rdb, testJob{ID: "q/one", Task: "t", Chunks: 1}, 2)
		create(t, rdb, testJob{ID: "q/many", Task: "t", Chunks: 2}, 2)
		show := func(id string, chunk, n int) inspect.Preview {
			t.Helper()
			want := inspect.Delivery{Job: "q/" + id, Chunk: chunk}
			got, p, ok := in.Delivery(t.Context(), fmt.Appendf(nil, `{"job":%q,"chunk":%d}`, want.Job, chunk), n)
			if !ok || got != want {
				t.Errorf("delivery %+v is taken for %+v, %t", want, got, ok)
			}
			return p
		}
		if p := show("one", 0, 0); p.Text != `[{"call":0},{"call":1}]` || p.Cut {
			t.Errorf("the preview is %+v", p)
		}
		if p := show("many", 1, 8); p.Text != `[{"call"` || !p.Cut {
			t.Errorf("the preview is %+v, want it cut", p)
		}
		begin(t, rdb, "q/many", 1, 1, "w")
		rec(t, rdb, "q/many", 1, 2, 0)
		if p := show("many", 1, 0); p.Text != "" || p.Note == "" {
			t.Errorf("the preview of a chunk with outcomes is %+v", p)
		}
		begin(t, rdb, "q/many", 0, 1, "w")
		rec(t, rdb, "q/many", 0, 2, 0, 0)
		if p := show("many", 0, 0); p.Text != `[{"call":0},{"call":1}]` {
			t.Errorf("the preview of a chunk with failed calls is %+v", p)
		}
		if p := show("gone", 0, 0); p.Note == "" {
			t.Errorf("the preview of a job that is gone is %+v", p)
		}
		for _, foreign := range []string{`{"user":1}`, `{"job":"q/one"}`, `{"job":"bare","chunk":0}`, `{"job":"q/one","chunk":-1}`} {
			if _, _, ok := in.Delivery(t.Context(), []byte(foreign), 0); ok {
				t.Errorf("the foreign payload %s is taken for a delivery", foreign)
			}
		}
	})
}
