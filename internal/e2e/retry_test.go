package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// runs returns when the calls of try ran, by call.
func (e *env) runs(t *testing.T, p probe, call int) (at []time.Time) {
	t.Helper()
	for _, s := range e.rdb.LRange(ctx(t), fmt.Sprintf("%s:%d", p.Key, call), 0, -1).Val() {
		stamp, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, time.UnixMilli(stamp))
	}
	return at
}

// The waits between attempts: a short one is in the slot, for a long one the chunk is put off.
const shortWait, longWait = 20 * time.Millisecond, 400 * time.Millisecond

func TestOnlyFailedCallsRunAgainAndTheirWaitsAreKept(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in the slot": shortWait, "outside of it": longWait} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, e *env) { onlyFailedCallsRunAgain(t, e, wait) })
		})
	}
}

func onlyFailedCallsRunAgain(t *testing.T, e *env, wait time.Duration, change ...func(*workerSpec)) {
	t.Helper()
	e.worker(t, 2, change...)
	p, mark := e.pool(t), e.probe()
	args := []attempt{{mark, 1, ""}, {mark, 3, ""}, {mark, 1, ""}, {mark, 2, howPanic}, {mark, 9, ""}}
	got, err := producer.Map(ctx(t), p, try, args, producer.ChunkSize(5), producer.Retry(2, tasks.Every(wait)))
	me, ok := errors.AsType[*results.MapError](err)
	if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 4 || me.Errors[0].Attempts != 3 || !errors.Is(err, errStock) {
		t.Fatalf("error %v, want one of call 4 after 3 attempts", err)
	}
	mentions(t, err, "attempt 3")
	same(t, "the values", got, nil, []int{1, 3, 1, 2, 0})
	for call, want := range []int{1, 3, 1, 2, 3} {
		at := e.runs(t, mark, call)
		if len(at) != want {
			t.Errorf("call %d ran %d times, want %d", call, len(at), want)
		}
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < wait-10*time.Millisecond || d > wait+patience/4 {
				t.Errorf("call %d ran again after %v, want %v", call, d, wait)
			}
		}
	}
}

func TestAnErrorDecidesAboutItsRetries(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		permanent := e.probe()
		_, err := producer.Apply(ctx(t), p, try, attempt{permanent, 2, howPermanent}, producer.Retry(5, tasks.Every(time.Millisecond)))
		if te := taskError(t, err); te.Attempts != 1 || te.Type != "*fmt.wrapError" || !errors.Is(err, errStock) {
			t.Errorf("a permanent error: %+v", te)
		}
		after := e.probe()
		n, err := producer.Apply(ctx(t), p, try, attempt{after, 2, howRetryAfter}, producer.Retry(1, tasks.Every(time.Minute)))
		same(t, "the attempt that succeeded", n, err, 2)
		if at := e.runs(t, after, 0); len(at) != 2 || at[1].Sub(at[0]) < 290*time.Millisecond {
			t.Errorf("ran at %v, want 300ms between", at)
		}
		never := e.probe()
		_, err = producer.Apply(ctx(t), p, try, attempt{never, 2, howRetryAfter})
		if te := taskError(t, err); te.Attempts != 1 {
			t.Errorf("RetryAfter without a retry: %+v", te)
		}
	})
}

func TestOperatorsSeeAWaitingRetry(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p, mark := e.pool(t), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, try, attempt{mark, 2, ""}, producer.Retry(1, tasks.Every(time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		inspector := asynq.NewInspectorFromRedisClient(e.rdb)
		eventually(t, "the delivery waits", func() bool {
			ts, err := inspector.ListRetryTasks(e.lane(t, r.ID()))
			return err == nil && len(ts) == 1 && strings.Contains(ts[0].LastErr, "attempt 1") && strings.Contains(ts[0].LastErr, "1h")
		})
		// Its slot is free meanwhile, and an operator may shorten the wait.
		v, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "a call beside it", v, err, 9)
		if r.Ready() {
			t.Error("the call is over without its retry")
		}
		if err := r.Cancel(ctx(t)); err != nil {
			t.Error(err)
		}
		if _, err := r.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("error %v, want ErrCanceled", err)
		}
	})
}
