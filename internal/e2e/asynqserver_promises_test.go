package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// What a worker promises, of a stock asynq.Server with distpool's handler.

func TestAStockServerRefusesForgedJobs(t *testing.T) {
	for _, a := range attacks {
		if a.name == "other arguments under the old signature" || a.name == "a checkpoint that no worker saved" {
			t.Run(a.name, func(t *testing.T) {
				eachSigned(t, func(t *testing.T, e *signed) { a.isRefused(t, e, byAsynq) })
			})
		}
	}
}

func TestAStockServerLeavesNothingReadableOfEncryptedJobs(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) { encryptedIsUnreadable(t, e, byAsynq) })
}

func TestAStockServerKeepsTimeLimits(t *testing.T) {
	t.Run("a CallTimeout", func(t *testing.T) {
		each(t, func(t *testing.T, e *env) { callTimeoutEndsCalls(t, e, byAsynq) })
	})
	t.Run("a HardTimeout", func(t *testing.T) {
		each(t, func(t *testing.T, e *env) { hardTimeoutRecycles(t, e, byAsynq) })
	})
}

func TestAStockServerRunsOnlyFailedCallsAgain(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in the slot": shortWait, "outside of it": longWait} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, e *env) { onlyFailedCallsRunAgain(t, e, wait, byAsynq) })
		})
	}
}

// pace counts its runs, and its third call holds.
var pace = tasks.Define("pace", func(ctx context.Context, p probe) (string, error) {
	n := tasks.Info(ctx).Call
	if err := client(p.URL).HIncrBy(ctx, p.Key, strconv.Itoa(n), 1).Err(); err != nil {
		return "", err
	}
	if n == 2 {
		return runHold(ctx, p)
	}
	return tasks.Info(ctx).Worker, nil
})

func init() { allTasks = append(allTasks, pace) }

// A server is stopped while it runs a chunk: another one goes on where it was.
func TestAStockServerGoesOnWhereAnotherWasStopped(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		brief := func(s *workerSpec) { s.Grace = 50 * time.Millisecond }
		first := e.worker(t, 1, byAsynq, brief)
		p, gate := e.pool(t), e.probe()
		m, err := producer.MapAsync(ctx(t), p, pace, slices.Repeat([]probe{gate}, 5), producer.ChunkSize(5))
		must(t, err)
		e.awaitStarted(t, gate, 1)
		if err := first.stop(t); err != nil {
			t.Errorf("the server ended with %v, want success: its call obeys its context", err)
		}
		second := e.worker(t, 1, byAsynq)
		e.awaitStarted(t, gate, 2)
		e.open(t, gate)
		on, err := m.Get(ctx(t))
		must(t, err)
		want := []string{first.name, first.name, second.name, second.name, second.name}
		for call, runs := range []string{"1", "1", "2", "1", "1"} {
			ran := e.rdb.HGet(ctx(t), gate.Key, strconv.Itoa(call)).Val()
			if ran != runs || nameOf(on[call]) != want[call] {
				t.Errorf("call %d ran %s times, and ended on %s; want %s, and %s", call, ran, on[call], runs, want[call])
			}
		}
	})
}

// A server that had nothing to do for longer than asynq's lease serves as any other.
func TestAnIdleStockServerServesLikeABusyOne(t *testing.T) {
	long(t)
	each(t, func(t *testing.T, e *env) {
		stops, fails := e, e.aside(t)
		w := stops.worker(t, 1, byAsynq)
		fails.worker(t, 1, byAsynq)
		failsPool := fails.pool(t)
		<-time.After(idleFor)
		late := metronome(t)
		_, err := producer.Apply(ctx(t), failsPool, act, actError)
		taskError(t, err)
		fails.archives(t, 0, late)
		n, err := producer.Apply(ctx(t), failsPool, square, 12)
		same(t, "a call after a failed one", n, err, 144)
		held, gate := stops.held(t, hold)
		stops.keepsItsCall(t, w, held, gate)
	})
}

// The user of a stock server has the rules of a worker, and the two commands that
// docs/operations.md names beside them.
func TestTheRulesForAStockServerAreEnough(t *testing.T) {
	t.Parallel()
	beside := []string{"incr", "rpoplpush"}
	g := newGuarded(t)
	rules := slices.Clone(g.rules[roleWorker])
	for _, name := range beside {
		rules = append(rules, "+"+name)
	}
	redistest.SetUser(t, g.rdb, roleWorker, rules)
	must(t, g.rdb.Do(ctx(t), "ACL", "LOG", "RESET").Err())
	stop := g.watch(t)
	serve := func() *testWorker {
		return g.env.worker(t, 2, byAsynq, func(s *workerSpec) { s.Redis, s.Dies = g.url(t, roleWorker, rolePassword), true })
	}
	first, second := serve(), serve()
	p := g.pool(t)
	survivors(t, p, first)
	g.flush(t)
	survivors(t, p, first)
	mark := g.probe()
	got, err := producer.Map(ctx(t), p, try, []attempt{{mark, 2, ""}, {mark, 1, ""}}, producer.ChunkSize(2), producer.Retry(3, tasks.Every(300*time.Millisecond)))
	same(t, "retries", fmt.Sprint(got), err, "[2 1]")
	_, err = producer.Map(ctx(t), p, divide, []float64{0, 0, 1})
	if _, ok := errors.AsType[*results.MapError](err); !ok {
		t.Errorf("failing calls: %v", err)
	}
	n, err := producer.Apply(ctx(t), p, square, 6, producer.Delay(time.Second))
	same(t, "a delayed job", n, err, 36)
	if _, err := producer.Map(ctx(t), p, sleep, []int{700, 700, 10}, producer.ChunkSize(3)); err != nil {
		t.Errorf("a long chunk, with checkpoints: %v", err)
	}
	large, err := producer.Map(ctx(t), p, produce, []int{1 << 17, 20_000}, producer.ChunkSize(1))
	if err != nil || len(large[0]) != 1<<17 {
		t.Errorf("large outcomes: %v", err)
	}
	mark.Key += ":canceled"
	canceled, err := producer.ApplyAsync(ctx(t), p, hold, mark)
	must(t, err)
	g.awaitStarted(t, mark, 1)
	must(t, canceled.Cancel(ctx(t)))
	eventually(t, "the call is told", func() bool { return g.rdb.SCard(ctx(t), mark.Key+":canceled").Val() == 1 })
	// A server is killed, and the other one goes on.
	mark.Key += ":dies"
	held, err := producer.ApplyAsync(ctx(t), p, hold, mark)
	must(t, err)
	g.awaitStarted(t, mark, 1)
	dying, other := first, second
	if owner := g.field(t, held.ID(), "own:0"); nameOf(owner) == second.name {
		dying, other = second, first
	}
	dying.kill()
	g.awaitStarted(t, mark, 2)
	g.open(t, mark)
	if on, err := held.Get(ctx(t)); err != nil || nameOf(on) != other.name {
		t.Errorf("a call whose server died ran on %q, %v; want %s", on, err, other.name)
	}
	if err := other.stop(t); err != nil {
		t.Errorf("the server ended with %v", err)
	}

	used := stop()
	denied, err := g.rdb.Do(ctx(t), "ACL", "LOG").Slice()
	must(t, err)
	for _, d := range denied {
		t.Errorf("ACL LOG: %v", d)
	}
	for _, name := range beside {
		if !used[roleWorker][name] {
			t.Errorf("a stock server may %s, which it never did", name)
		}
	}
}
