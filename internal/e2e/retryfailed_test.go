package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// mending is a call that needs a file for every third N.
type mending struct {
	File string
	N    int
	Pad  string
	Hold bool // until its context ends
}

func runMend(ctx context.Context, m mending) (int, error) {
	if m.Hold {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	if m.N%3 == 0 {
		if _, err := os.Stat(m.File); err != nil {
			return 0, err
		}
	}
	return m.N * 10, nil
}

var (
	mend       = tasks.Define("mend", runMend)
	mendSealed = tasks.Define("mend.sealed", runMend, encrypted(sealed1))
)

func init() { allTasks = append(allTasks, mend, mendSealed) }

func mendings(t *testing.T, n int) []mending {
	file := filepath.Join(t.TempDir(), "there")
	ms := make([]mending, n)
	for i := range ms {
		ms[i] = mending{File: file, N: i}
	}
	return ms
}

func repair(t *testing.T, ms []mending) {
	t.Helper()
	if err := os.WriteFile(ms[0].File, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// failedMap runs a map whose calls 0, 3, 6, ... fail, and returns its ID.
func failedMap(t *testing.T, p *producer.Pool, task *tasks.Task[mending, int], ms []mending, opts ...producer.Option) string {
	t.Helper()
	m, err := producer.MapAsync(ctx(t), p, task, ms, opts...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Get(ctx(t))
	if failed, ok := errors.AsType[*results.MapError](err); !ok || len(failed.Errors) != (len(ms)+2)/3 {
		t.Fatalf("the map ended with %v", err)
	}
	return m.ID()
}

func TestRetryFailedRunsTheFailedCallsAgainAndNoOther(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		for name, task := range map[string]*tasks.Task[mending, int]{"json": mend, "encrypted": mendSealed} {
			for _, size := range []int{1, 4, 100} {
				ms := mendings(t, 10)
				id := failedMap(t, p, task, ms, producer.ChunkSize(size))
				repair(t, ms)
				r, err := producer.RetryFailed(ctx(t), p, task, id)
				if err != nil {
					t.Fatalf("%s, chunks of %d: %v", name, size, err)
				}
				values, err := r.Get(ctx(t))
				if err != nil || !slices.Equal(values, []int{0, 30, 60, 90}) || !slices.Equal(r.Calls, []int{0, 3, 6, 9}) || r.Gone != nil || r.Of != id || r.ID() == id {
					t.Errorf("%s, chunks of %d: got %v, %v; %+v", name, size, values, err, r)
				}
				// The old job stays as it is, and can be retried again.
				if m, err := producer.AttachMap(ctx(t), p, task, id); err != nil {
					t.Error(err)
				} else if _, err := m.Get(ctx(t)); err == nil {
					t.Error("the old job has no failed calls any more")
				}
				if _, err := producer.RetryFailed(ctx(t), p, task, r.ID()); !errors.Is(err, producer.ErrNoneFailed) {
					t.Errorf("of a job without failed calls: %v", err)
				}
			}
		}
	})
}

func TestRetryFailedKeepsQueueAndLimitsUnlessOptionsSayOtherwise(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		other := e.queue + "-b"
		ms := mendings(t, 4)
		id := failedMap(t, p, mend, ms, producer.CallTimeout(30*time.Second), producer.Retry(2, tasks.Backoff{}))
		kept, err := producer.RetryFailed(ctx(t), p, mend, id)
		if err != nil {
			t.Fatal(err)
		}
		moved, err := producer.RetryFailed(ctx(t), p, mend, id, producer.Queue(other), producer.CallTimeout(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string][]string{
			kept.ID():  {e.queue, `"retries":2`, fmt.Sprint(int64(30 * time.Second))},
			moved.ID(): {other, `"retries":2`, fmt.Sprint(int64(time.Minute))},
		} {
			queue, policy := names.SplitAddress(id).Queue, e.snapshot(t, id).About.Policy
			if queue != want[0] || !strings.Contains(policy, want[1]) || !strings.Contains(policy, want[2]) {
				t.Errorf("queue %s, policy %s; want %v", queue, policy, want)
			}
		}
		if err := moved.Cancel(ctx(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestRetryFailedSaysWhatItCannotRetry(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		if _, err := producer.RetryFailed(ctx(t), p, mend, "nobody"); !errors.Is(err, results.ErrUnknownJob) {
			t.Errorf("unknown: %v", err)
		}
		waiting, err := producer.MapAsync(ctx(t), p, mend, mendings(t, 3))
		if err != nil {
			t.Fatal(err)
		}
		_, err = producer.RetryFailed(ctx(t), p, mend, waiting.ID())
		if mentions(t, err, "0 of 3 calls"); !errors.Is(err, producer.ErrNotOver) {
			t.Errorf("not over: %v", err)
		}
		if _, err := producer.RetryFailed(ctx(t), p, square, waiting.ID()); !errors.Is(err, results.ErrTaskMismatch) {
			t.Errorf("another task: %v", err)
		}
		if err := waiting.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := producer.RetryFailed(ctx(t), p, mend, waiting.ID()); !errors.Is(err, producer.ErrNoneFailed) {
			t.Errorf("canceled before anything failed: %v", err)
		}
	})
}

func TestRetryFailedOfACanceledJobTakesWhatFailedBefore(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		ms := mendings(t, 3)
		ms[1].Hold = true
		m, err := producer.MapAsync(ctx(t), p, mend, ms, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first call has failed", func() bool {
			return e.snapshot(t, m.ID()).Failed == 1
		})
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		repair(t, ms)
		r, err := producer.RetryFailed(ctx(t), p, mend, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		if values, err := r.Get(ctx(t)); err != nil || !slices.Equal(values, []int{0}) || !slices.Equal(r.Calls, []int{0}) {
			t.Errorf("got %v, %v; %+v", values, err, r)
		}
	})
}

func TestRetryFailedLeavesOutCallsWhoseArgumentsAreGone(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		ms := mendings(t, 10)
		for i := range ms {
			ms[i].Pad = strings.Repeat("x", 15<<20)
			ms[i].N *= 3 // all fail
		}
		m, err := producer.MapAsync(ctx(t), p, mend, ms[:6], producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Get(ctx(t)); err == nil {
			t.Fatal("nothing failed")
		}
		repair(t, ms)
		r, err := producer.RetryFailed(ctx(t), p, mend, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		values, err := r.Get(ctx(t))
		if err != nil || len(values) != 4 || len(r.Gone) != 2 {
			t.Fatalf("got %d values and %v left out, %v; 64 MiB hold four arguments of 15", len(values), r.Gone, err)
		}
		for i, call := range r.Calls {
			if values[i] != call*30 || slices.Contains(r.Gone, call) {
				t.Errorf("call %d is call %d of the old job, and has %d", i, call, values[i])
			}
		}
		for k := range 6 {
			e.setField(t, m.ID(), string(job.KeptOf(k)), "")
		}
		_, err = producer.RetryFailed(ctx(t), p, mend, m.ID())
		if mentions(t, err, "6 calls failed"); !errors.Is(err, producer.ErrArgumentsGone) {
			t.Errorf("all gone: %v", err)
		}
	})
}

// Whoever can write to Redis must not get something signed by having it retried.
func TestRetryFailedSignsOnlyWhatWasSigned(t *testing.T) {
	eachSigned(t, func(t *testing.T, e *signed) {
		e.worker(t, e.ring)
		p := e.pool(t, e.ring)
		ms := mendings(t, 4)
		id := failedMap(t, p, mend, ms, producer.ChunkSize(2))
		repair(t, ms)
		r, err := producer.RetryFailed(ctx(t), p, mend, id)
		if err != nil {
			t.Fatal(err)
		}
		if values, err := r.Get(ctx(t)); err != nil || !slices.Equal(values, []int{0, 30}) {
			t.Fatalf("got %v, %v", values, err)
		}
		kept := e.field(t, id, "kept:0")
		for name, forged := range map[string]string{
			"unsigned": string(bare(t, kept)),
			"changed":  strings.Replace(kept, `"N":0`, `"N":9`, 1),
			"another chunk's": func() string {
				first, n, data, err := wire.ParseArgs([]byte(e.field(t, id, "kept:1")))
				if err != nil {
					t.Fatal(err)
				}
				return string(wire.EncodeArgs(first-2, n, data))
			}(),
		} {
			e.setField(t, id, "kept:0", forged)
			if _, err := producer.RetryFailed(ctx(t), p, mend, id); !errors.Is(err, results.ErrUntrusted) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := len(e.here); n != 3 || e.here[0].What != secure.Arguments {
			t.Errorf("the pool was told of %+v", e.here)
		}
	})
}
