package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

func TestADrainGivesBackWhatIsLeftOfAChunk(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		g := newGate("gate")
		var runs atomic.Int64
		step := tasks.Define("gate", func(ctx context.Context, n int) (int, error) {
			if n == 0 {
				return int(runs.Add(1)), nil
			}
			return g.Task.Call(ctx, n)
		})
		first := b.start(t, worker.Config{Grace: 50 * time.Millisecond}, step)
		b.submit(t, "j", job.About{Task: "gate"}, 3, "0", "1", "2")
		eventually(t, "the second call runs", func() bool { return g.runs(1) == 1 })
		if err := first.stop(); err != nil {
			t.Errorf("the worker ended with %v, want success: its call obeys its context", err)
		}
		if g.causes() != "[the worker is shutting down]" {
			t.Errorf("contexts were canceled because of %s", g.causes())
		}
		if q := b.info(t); q.Pending != 1 || q.Active != 0 {
			t.Fatalf("the queue is %+v, want one delivery pending", q)
		}
		if s := b.snapshot(t, "j"); s.Done != 1 || s.Running != 0 {
			t.Errorf("%d calls are done, %d chunks run; want 1 and 0", s.Done, s.Running)
		}
		close(g.open)
		b.start(t, worker.Config{}, step)
		b.wantValues(t, "j", 0, "[1,1,2]")
		if n := runs.Load(); n != 1 || g.runs(1) != 2 {
			t.Errorf("the finished call ran %d times, the interrupted one %d times", n, g.runs(1))
		}
	})
}

func TestAWorkerThatStopsFinishesItsCallsAndTakesNoOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		g := newGate("gate")
		w := b.start(t, worker.Config{Concurrency: 1}, g, square)
		b.call(t, "j", "gate", "1")
		eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
		ended := make(chan error, 1)
		go func() { ended <- w.stop() }()
		eventually(t, "the worker drains", func() bool { return b.log.has("the worker drains") })
		b.call(t, "next", "square", "1")
		close(g.open)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		b.wantValues(t, "j", 0, "[1]")
		if s := b.snapshot(t, "next"); s.State != job.Sealed || b.info(t).Pending != 1 {
			t.Errorf("the other job is %s", s.State)
		}
		if n := b.rdb.ZCard(t.Context(), "distpool:@{workers}").Val(); n != 0 {
			t.Errorf("%d workers are registered", n)
		}
	})
}

func TestTheChunksOfADeadWorkerAreRunByAnother(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		b.submit(t, "j", job.About{Task: "square"}, 1, "1", "2")
		taken, err := job.Take(t.Context(), b.rdb, b.lane, job.Taking{Worker: "dead", Most: 1, Room: 1 << 20, Now: time.Now()})
		if err != nil || len(taken) != 1 {
			t.Fatal(taken, err)
		}
		began := time.Now()
		b.start(t, worker.Config{}, square)
		b.wantValues(t, "j", 0, "[1]")
		if took := time.Since(began); took > 12*time.Second { // for 5 s it is troubled: it has just started
			t.Errorf("it took %v", took)
		}
	})
}

// TestACallOutlastsBeingTakenForDead is about a process that stood still: supervision has issued
// the chunk again, and the worker goes on.
func TestACallOutlastsBeingTakenForDead(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		g := newGate("gate")
		w := b.start(t, worker.Config{Concurrency: 2}, g)
		b.call(t, "j", "gate", "1")
		eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
		d := job.Delivery{Ref: job.Ref{Name: "j"}, Number: 2}
		again := job.Reissue{Delivery: d, Owner: b.owner(t, "j"), Died: true, Old: "j:0:1", Task: "gate"}
		if states, err := job.ReissueAll(t.Context(), b.rdb, b.lane, again); err != nil || states[0] != job.Reissued {
			t.Fatal(states, err)
		}
		eventually(t, "the worker meets the new delivery", func() bool { return b.log.has("verdict=busy") })
		eventually(t, "several heartbeats pass", func() bool { return b.log.has("verdict=busy") && b.age(t, "j") > 4*time.Second })
		close(g.open)
		b.wantValues(t, "j", 0, "[1]")
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if g.runs(1) != 1 || g.causes() != "[]" {
			t.Errorf("the call ran %d times, and was canceled because of %s", g.runs(1), g.causes())
		}
		if q := b.info(t); q.Size != 0 {
			t.Errorf("left in the queue: %+v", q)
		}
	})
}

func (b *bed) owner(t *testing.T, name string) string {
	t.Helper()
	owner, _, _ := strings.Cut(b.rdb.HGet(t.Context(), job.Key(b.lane, name), "own:0").Val(), " ")
	return owner
}

func (b *bed) age(t *testing.T, name string) time.Duration {
	t.Helper()
	return time.Since(time.UnixMilli(b.snapshot(t, name).Created))
}

func TestAChunkThatAnotherWorkerHasIsGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		g := newGate("gate")
		b.start(t, worker.Config{}, g)
		b.call(t, "j", "gate", "1")
		eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
		b.rdb.HSet(t.Context(), job.Key(b.lane, "j"), "own:0", "another 1 2")
		eventually(t, "the call is canceled", func() bool { return g.causes() == "[another worker has taken the chunk over]" })
		if s := b.snapshot(t, "j"); s.State != job.Sealed {
			t.Errorf("the job is %s", s.State)
		}
	})
}

func TestALostOwnerCostsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		g := newGate("gate")
		w := b.start(t, worker.Config{Grace: 50 * time.Millisecond}, g)
		b.call(t, "j", "gate", "1")
		eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
		b.rdb.HDel(t.Context(), job.Key(b.lane, "j"), "own:0")
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		close(g.open)
		b.start(t, worker.Config{}, g)
		b.wantValues(t, "j", 0, "[1]")
	})
}

func TestAWorkerGivesBackWhatItDoesNotRun(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		g := newGate("gate")
		b.start(t, worker.Config{}, g, square)
		b.call(t, "held", "gate", "1")
		eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
		self := b.owner(t, "held")
		// A failover lost the outcomes, and the delivery with them.
		b.submit(t, "j", job.About{Task: "square"}, 1, "7")
		b.outcome(t, "j", 0)
		key := job.Key(b.lane, "j")
		b.rdb.HDel(t.Context(), key, "state", "out:0", "finished")
		b.rdb.HSet(t.Context(), key, "args:0", "0 1\n[7]", "own:0", self+" 1 1")
		ask := func(name string) {
			if err := (fleet.Owners{Redis: b.rdb}).Ask(t.Context(), self, b.lane, []job.Delivery{{Ref: job.Ref{Name: name}, Number: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		ask("held")
		ask("j")
		b.wantValues(t, "j", 0, "[49]")
		close(g.open)
		b.wantValues(t, "held", 0, "[1]")
		if g.runs(1) != 1 {
			t.Errorf("the call that it runs ran %d times", g.runs(1))
		}
	})
}

func TestTheLastAttemptRunsBesideNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		began, open := make(chan struct{}), make(chan struct{})
		long := tasks.Define("long", func(context.Context, int) (string, error) {
			close(began)
			<-open
			return strings.Repeat("x", 8<<20), nil // its transfer to Redis takes a while
		})
		deadly := newGate("deadly")
		b.start(t, worker.Config{Concurrency: 3}, long, deadly, square)
		b.call(t, "held", "long", "1")
		<-began
		text, _ := job.About{Task: "deadly"}.Encode()
		d := job.Delivery{Ref: job.Ref{Name: "deadly"}, Number: 3}
		j := job.New(job.Job{Ref: d.Ref, About: text, Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Hour}, []job.Chunk{{Args: []byte("0 1\n[2]")}})
		if _, err := job.Submit(t.Context(), b.rdb, b.lane, []job.Submission{j}); err != nil {
			t.Fatal(err)
		}
		b.rdb.HSet(t.Context(), job.Key(b.lane, "deadly"), "lost:0", 2)
		if _, err := job.ReissueAll(t.Context(), b.rdb, b.lane, job.Reissue{Delivery: d, Task: "deadly"}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it was taken", func() bool { return b.info(t).Active == 2 })
		if own := b.owner(t, "deadly"); own != "" || deadly.runs(2) != 0 {
			t.Errorf("while another call runs it is owned by %q, and ran %d times", own, deadly.runs(2))
		}
		b.call(t, "next", "square", "3")
		close(open)
		eventually(t, "it runs", func() bool { return deadly.runs(2) == 1 })
		if s := b.snapshot(t, "held"); s.State != job.Done || s.Finished > b.begun(t, "deadly") {
			t.Errorf("it began while the outcome of the call before was not recorded (%s)", s.State)
		}
		if s := b.snapshot(t, "next"); s.State == job.Done && s.Finished > b.begun(t, "deadly") {
			t.Error("another call ran beside it")
		}
		close(deadly.open)
		b.wantValues(t, "deadly", 0, "[2]")
		b.wantValues(t, "next", 0, "[9]")
	})
}

func (b *bed) begun(t *testing.T, name string) int64 {
	t.Helper()
	var owner string
	var at, number int64
	_, _ = fmt.Sscan(b.rdb.HGet(t.Context(), job.Key(b.lane, name), "own:0").Val(), &owner, &at, &number)
	return at
}

func TestTheCallThatKilledThreeWorkersIsGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		b.submit(t, "j", job.About{Task: "square"}, 3, "1", "2", "3")
		b.rdb.HSet(t.Context(), job.Key(b.lane, "j"), "lost:0", 3, "part:0", string(wire.Partial{Next: 1, Outcome: wire.Outcome{Calls: 3, Values: []byte("[1,0,0]")}}.Encode()))
		b.start(t, worker.Config{}, square)
		if o := b.outcome(t, "j", 0); len(o.Errors) != 1 || o.Errors[0].Call != 1 || o.Errors[0].Kind != wire.KindWorkerLost || string(o.Values) != "[1,0,9]" {
			t.Errorf("the outcomes are %s, %+v", o.Values, o.Errors)
		}
	})
}

func TestLargeArgumentsAndValuesTravel(t *testing.T) {
	rdb := redistest.Start(t, redistest.Config("proto-max-bulk-len 1mb"), redistest.Config("client-query-buffer-limit 1mb")).Client(t)
	b := newBed(t, rdb)
	twice := tasks.Define("twice", func(_ context.Context, s string) (string, error) { return s + s, nil })
	b.start(t, worker.Config{}, twice)
	text := strings.Repeat("x", 1<<20)
	b.call(t, "j", "twice", `"`+text+`"`)
	if o := b.outcome(t, "j", 0); !bytes.Equal(o.Values, []byte(`["`+text+text+`"]`)) {
		t.Errorf("the value has %d bytes; %v", len(o.Values), o.Errors)
	}
}

func TestArgumentsThatAreGoneEndTheirJob(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		b.call(t, "j", "square", strings.Repeat("1", job.LargeFrame))
		for _, key := range b.rdb.Keys(t.Context(), job.Prefix(b.lane)+"frame:*").Val() {
			b.rdb.Del(t.Context(), key)
		}
		b.start(t, worker.Config{}, square)
		eventually(t, "the job is over", func() bool { return b.snapshot(t, "j").State == job.Missing })
		if s := b.snapshot(t, "j"); !strings.Contains(s.Reason, "chunk 0") || !b.log.has("job=q/j") {
			t.Errorf("the reason is %q", s.Reason)
		}
		eventually(t, "the delivery is archived", func() bool { return b.info(t).Archived == 1 })
	})
}

func TestDamagedRecordsEndTheirJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		damages := map[string]func(key string){
			"no-arguments": func(key string) { b.rdb.HDel(t.Context(), key, "args:0") },
			"bad-frame":    func(key string) { b.rdb.HSet(t.Context(), key, "args:0", "garbage") },
			"bad-total":    func(key string) { b.rdb.HSet(t.Context(), key, "calls", "1.5") },
			"bad-state":    func(key string) { b.rdb.HSet(t.Context(), key, "state", "running") },
			"bad-about":    func(key string) { b.rdb.HSet(t.Context(), key, "about", "9 square") },
			"no-hash":      func(key string) { b.rdb.Set(t.Context(), key, "x", 0) },
		}
		for name, damage := range damages {
			b.call(t, name, "square", "3")
			damage(job.Key(b.lane, name))
		}
		b.call(t, "well", "square", "4")
		w := b.start(t, worker.Config{}, square)
		b.wantValues(t, "well", 0, "[16]")
		for name := range damages {
			eventually(t, "the log names "+name, func() bool { return b.log.has("job=q/" + name + " ") })
			eventually(t, name+" is over", func() bool {
				s, err := job.Read(t.Context(), b.rdb, b.lane, name)
				return job.IsDamaged(err) || s.State == job.Corrupt
			})
		}
		eventually(t, "their deliveries are archived", func() bool { return b.info(t).Archived == len(damages) && b.info(t).Active == 0 })
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestCallsOutlastARedisThatRestarts(t *testing.T) {
	s := redistest.Start(t, redistest.Config("appendonly yes"), redistest.Config("appendfsync always"))
	b := newBed(t, s.Client(t))
	g := newGate("gate")
	w := b.start(t, worker.Config{}, g, square)
	b.call(t, "j", "gate", "1")
	eventually(t, "the call runs", func() bool { return g.runs(1) == 1 })
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	close(g.open)
	eventually(t, "the worker has noticed", func() bool { return b.log.has("will keep trying") })
	s.Restart(t)
	b.wantValues(t, "j", 0, "[1]")
	b.call(t, "next", "square", "5")
	b.wantValues(t, "next", 0, "[25]")
	if err := w.stop(); err != nil || g.runs(1) != 1 {
		t.Errorf("%v, after %d runs", err, g.runs(1))
	}
}

func TestAWorkerThatCannotHandOverSaysSo(t *testing.T) {
	s := redistest.Start(t)
	b := newBed(t, s.Client(t))
	g := newGate("gate")
	w := b.start(t, worker.Config{Grace: 200 * time.Millisecond}, g)
	b.submit(t, "j", job.About{Task: "gate"}, 1, "1", "2")
	eventually(t, "the calls run", func() bool { return g.runs(1)+g.runs(2) == 2 })
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := w.stop(); err == nil || !strings.Contains(err.Error(), "had to abandon 2 chunks") || errors.Is(err, worker.ErrRecycle) {
		t.Errorf("the worker ended with %v", err)
	}
}

func TestAStuckCallRecyclesTheWorkerAndKeepsItsSlot(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bed) {
		var runs atomic.Int64
		end := make(chan struct{})
		defer close(end)
		stuck := tasks.Define("stuck", func(context.Context, int) (int, error) {
			runs.Add(1)
			<-end
			return 0, nil
		}, tasks.HardTimeout(100*time.Millisecond))
		w := b.start(t, worker.Config{Concurrency: 1}, stuck)
		b.submit(t, "j", job.About{Task: "stuck"}, 1, "1", "2")
		<-w.ended
		if err := w.stop(); !errors.Is(err, worker.ErrRecycle) {
			t.Errorf("the worker ended with %v", err)
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("%d calls ran in its one slot", n)
		}
		if q := b.info(t); q.Pending != 1 || q.Active != 0 || q.Archived != 1 {
			t.Errorf("the queue is %+v", q)
		}
		if s := b.snapshot(t, "j"); s.Failed != 1 {
			t.Errorf("the job is %+v", s)
		}
	})
}
