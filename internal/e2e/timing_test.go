package e2e_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestGetTimeoutReturnsInTimeAndALaterGetTheValue(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		if _, err := producer.Apply(ctx(t), p, square, 1); err != nil { // everything is warm
			t.Fatal(err)
		}
		r, err := producer.ApplyAsync(ctx(t), p, sleep, 1000)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = r.GetTimeout(100 * time.Millisecond)
		took := time.Since(begin)
		if !errors.Is(err, results.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("GetTimeout: %v, want ErrTimeout", err)
		}
		// The promise is 200 ms on a machine that has time for it.
		if took < 100*time.Millisecond || took > 600*time.Millisecond {
			t.Errorf("GetTimeout(100ms) took %v", took)
		}
		if r.Ready() {
			t.Error("the call of 1 s is over already")
		}
		n, err := r.Get(ctx(t))
		same(t, "a later Get", n, err, 1000)
		n, err = r.GetTimeout(0)
		same(t, "GetTimeout of a result that is there", n, err, 1000)
	})
}

// Not parallel, and on a server of its own: it measures.
func TestAnIdlePoolAnswersInMillisecondsAndAnIdleWorkerIsQuiet(t *testing.T) {
	usual(t)
	e := newEnv(t, redistest.Start(t).URL(), true)
	w := e.worker(t, 2)
	p := e.pool(t)
	limit := 5 * time.Millisecond
	if raceEnabled {
		limit = 25 * time.Millisecond
	}
	// A busy machine may spoil a round; a worker that is not woken spoils every one.
	var p50 time.Duration
	for range 5 {
		took := make([]time.Duration, 50)
		for i := range took {
			begin := time.Now()
			if _, err := producer.Apply(ctx(t), p, square, i); err != nil {
				t.Fatal(err)
			}
			took[i] = time.Since(begin)
		}
		slices.Sort(took)
		if p50 = took[len(took)/2]; p50 < limit {
			break
		}
	}
	if p50 >= limit {
		t.Errorf("Apply takes %v (p50 of the best of 5 rounds), want under %v", p50, limit)
	}
	p.Close()
	if err := p.Join(ctx(t)); err != nil {
		t.Fatal(err)
	}
	const window = 5 * time.Second
	before := e.commands(t)
	<-time.After(window) // what is measured is what happens in this time
	n := e.commands(t) - before - 1
	t.Logf("Apply: p50 %v; an idle worker: %.1f commands/s", p50, float64(n)/window.Seconds())
	if n >= 10*int(window.Seconds()) {
		t.Errorf("an idle worker sent %d commands in %v, want fewer than 10 a second; they were %s",
			n, window, e.rdb.Info(ctx(t), "commandstats").Val())
	}
	if n == 0 {
		t.Error("the worker sent no command at all: the test measures the wrong thing")
	}
	if err := w.stop(t); err != nil {
		t.Error(err)
	}
}

// commands returns how many commands the server has processed.
func (e *env) commands(t *testing.T) int {
	t.Helper()
	info := e.rdb.Info(ctx(t), "stats").Val()
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "total_commands_processed:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("INFO has no total_commands_processed: %s", info)
	return 0
}
