package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestAttachFindsJobsOfAnotherPool(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		first, second, gate := e.pool(t), e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), first, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		m, err := producer.MapAsync(ctx(t), first, square, numbers(10), producer.ChunkSize(3))
		if err != nil {
			t.Fatal(err)
		}
		want, err := m.Get(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		over, err := producer.AttachMap(ctx(t), second, square, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		got, err := over.Get(ctx(t))
		same(t, "a map that is over", got, err, want)

		e.awaitStarted(t, gate, 1)
		running, err := producer.Attach(ctx(t), second, hold, r.ID())
		if err != nil {
			t.Fatal(err)
		}
		if running.Ready() {
			t.Error("the handle is ready while the call runs")
		}
		if _, err := running.Successful(); !errors.Is(err, results.ErrNotReady) {
			t.Errorf("Successful: %v", err)
		}
		e.open(t, gate)
		theirs, err := running.Get(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := r.Get(ctx(t))
		same(t, "the first handle", ours, err, theirs)

		if _, err := producer.Attach(ctx(t), second, square, "NOSUCHJOB"); !errors.Is(err, results.ErrUnknownJob) {
			t.Errorf("an unknown job: %v", err)
		} else {
			mentions(t, err, "NOSUCHJOB")
		}
		if _, err := producer.AttachMap(ctx(t), second, act, m.ID()); !errors.Is(err, results.ErrTaskMismatch) {
			t.Errorf("another task: %v", err)
		} else {
			mentions(t, err, `"square"`, `"act"`)
		}
		if _, err := producer.Attach(ctx(t), second, square, m.ID()); !errors.Is(err, results.ErrTaskMismatch) {
			t.Errorf("a map attached as one call: %v", err)
		}
	})
}

func TestAttachedHandlesAgreeOnFailureAndCancel(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		first, second, gate := e.pool(t), e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), first, act, actSentinel)
		if err != nil {
			t.Fatal(err)
		}
		_, want := r.Get(ctx(t))
		a, err := producer.Attach(ctx(t), second, act, r.ID())
		if err != nil {
			t.Fatal(err)
		}
		if _, got := a.Get(ctx(t)); !errors.Is(got, errStock) || got.Error() != want.Error() {
			t.Errorf("the attached handle says %v, the first one %v", got, want)
		}
		held, err := producer.ApplyAsync(ctx(t), first, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		b, err := producer.Attach(ctx(t), second, hold, held.ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		for _, h := range []*results.AsyncResult[string]{b, held} {
			if _, err := h.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
				t.Errorf("after Cancel: %v", err)
			}
		}
	})
}

func TestForgetRemovesEveryTrace(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p, gate := e.pool(t), e.probe()
		m, err := producer.MapAsync(ctx(t), p, act, []string{"a", actPanic, "b"}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		_, want := m.Get(ctx(t))
		if len(e.jobKeys(t, m.ID())) == 0 {
			t.Error("the job has no keys before it is forgotten: the test looks in the wrong place")
		}
		if err := m.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if keys := e.jobKeys(t, m.ID()); len(keys) != 0 {
			t.Errorf("left after Forget: %q", keys)
		}
		if _, err := producer.AttachMap(ctx(t), p, act, m.ID()); !errors.Is(err, results.ErrUnknownJob) {
			t.Errorf("Attach after Forget: %v", err)
		}
		v, err := m.Get(ctx(t))
		if len(v) != 3 || fmt.Sprint(err) != fmt.Sprint(want) {
			t.Errorf("the handle lost what it had: %v, %v", v, err)
		}

		live, err := producer.MapAsync(ctx(t), p, hold, slices.Repeat([]probe{gate}, 3), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 2)
		if err := live.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := live.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("a running job that was forgotten: %v", err)
		}
		eventually(t, "its calls are canceled", func() bool {
			return e.rdb.SCard(ctx(t), gate.Key+":canceled").Val() == 2
		})
		n, err := producer.Apply(ctx(t), p, square, 5)
		same(t, "the next call", n, err, 25)
		if keys := e.jobKeys(t, live.ID()); len(keys) != 0 {
			t.Errorf("left of the running job: %q", keys)
		}
	})
}

func TestEveryKeyOfDistpoolHasATimeToLive(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		p, gate := e.pool(t, func(c *producer.Config) { c.ResultTTL = time.Minute }), e.probe()
		check := func(when string, least int) {
			t.Helper()
			keys := e.keys(t, "distpool:*")
			if len(keys) < least {
				t.Errorf("%s: only %d keys: %q", when, len(keys), keys)
			}
			for _, k := range keys {
				if ttl := e.rdb.PTTL(ctx(t), k).Val(); ttl == -1 {
					t.Errorf("%s: %s (%s) lives for ever", when, k, e.rdb.Type(ctx(t), k).Val())
				}
			}
		}
		large, err := producer.MapAsync(ctx(t), p, size, severalTrips(), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		check("before any worker", 3)
		w := e.worker(t, 3)
		if _, err := large.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		m, err := producer.MapAsync(ctx(t), p, hold, slices.Repeat([]probe{gate}, 5), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		one, err := producer.ApplyAsync(ctx(t), p, act, actPanic)
		if err != nil {
			t.Fatal(err)
		}
		gone, err := producer.MapAsync(ctx(t), p, square, numbers(4), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 3)
		check("while calls run", 6)
		if err := gone.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		e.open(t, gate)
		if _, err := m.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		_ = one.Wait(ctx(t))
		check("after the work", 5)
		for _, id := range []string{m.ID(), one.ID(), gone.ID(), large.ID()} {
			for _, k := range e.jobKeys(t, id) {
				if ttl := e.rdb.PTTL(ctx(t), k).Val(); ttl > time.Minute {
					t.Errorf("%s lives for %v after its job, want at most ResultTTL", k, ttl)
				}
			}
		}
		if err := w.stop(t); err != nil {
			t.Error(err)
		}
		check("after the worker", 4)
		for _, k := range e.keys(t, "distpool:*") {
			if strings.Contains(k, w.name) && strings.HasPrefix(k, "distpool:@{workers}") {
				t.Errorf("the worker left %s", k)
			}
		}
	})
}
