package e2e_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestAClosedPoolRefusesAndJoinWaits(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p, gate := e.pool(t), e.probe()
		if err := p.Join(ctx(t)); err == nil {
			t.Error("Join before Close succeeded")
		} else {
			mentions(t, err, "Close")
		}
		m, err := producer.MapAsync(ctx(t), p, hold, []probe{gate, gate, gate}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		inCallback, leave := make(chan struct{}), make(chan struct{})
		m.OnSuccess(func([]string) { close(inCallback); <-leave })
		e.awaitStarted(t, gate, 2)
		p.Close()
		p.Close()
		_, err = producer.Apply(ctx(t), p, square, 1)
		if !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Apply on a closed pool: %v", err)
		}
		if _, err := producer.Attach(ctx(t), p, square, m.ID()); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Attach on a closed pool: %v", err)
		}
		brief, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := p.Join(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Join whose context ends first: %v", err)
		}
		joined := make(chan error, 1)
		go func() { joined <- p.Join(ctx(t)) }()
		e.open(t, gate)
		receive(t, "the callback", inCallback)
		select {
		case err := <-joined:
			t.Errorf("Join returned (%v) while a callback runs", err)
		default:
		}
		close(leave)
		if err := receive(t, "Join", joined); err != nil {
			t.Errorf("Join: %v", err)
		}
		if v, err := m.Get(ctx(t)); err != nil || len(v) != 3 {
			t.Errorf("the job after Join: %v, %v", v, err)
		}
		if err := p.Join(ctx(t)); err != nil {
			t.Errorf("Join again: %v", err)
		}
	})
}

func TestTerminateCancelsWhatIsOutstanding(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p, gate := e.pool(t), e.probe()
		over, err := producer.ApplyAsync(ctx(t), p, square, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := over.Wait(ctx(t)); err != nil {
			t.Fatal(err)
		}
		m, err := producer.MapAsync(ctx(t), p, hold, slices.Repeat([]probe{gate}, 10), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		one, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		var canceled atomic.Int32
		one.OnError(func(err error) {
			if errors.Is(err, results.ErrCanceled) {
				canceled.Add(1)
			}
		})
		e.awaitStarted(t, gate, 2)
		begin := time.Now()
		if err := p.Terminate(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("Terminate took %v although no call would end by itself", took)
		}
		if !m.Ready() || !one.Ready() || canceled.Load() != 1 {
			t.Errorf("after Terminate: map ready %v, call ready %v, OnError ran %d times", m.Ready(), one.Ready(), canceled.Load())
		}
		if v, err := m.Get(ctx(t)); v != nil || !errors.Is(err, results.ErrCanceled) {
			t.Errorf("the map: %v, %v", v, err)
		}
		if _, err := one.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("the call: %v", err)
		}
		n, err := over.Get(ctx(t))
		same(t, "the call that was over", n, err, 9)
		eventually(t, "the running calls' contexts are canceled", func() bool {
			return e.rdb.SCard(ctx(t), gate.Key+":canceled").Val() == 2
		})
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 2 {
			t.Errorf("%d calls were started, want the 2 that ran", n)
		}
		if _, err := producer.Apply(ctx(t), p, square, 1); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Apply after Terminate: %v", err)
		}
		n, err = producer.Apply(ctx(t), e.pool(t), square, 8) // the slots are free again
		same(t, "another pool", n, err, 64)
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 2 {
			t.Errorf("%d calls were started, want the 2 that ran before Terminate", n)
		}
	})
}

func TestCancelEndsAJob(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p, gate := e.pool(t), e.probe()
		waiting, err := producer.ApplyAsync(ctx(t), p, square, 1) // no worker yet
		if err != nil {
			t.Fatal(err)
		}
		if err := waiting.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := waiting.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("a call that waited: %v", err)
		}
		e.worker(t, 2)
		one, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		m, err := producer.MapAsync(ctx(t), p, hold, slices.Repeat([]probe{gate}, 4), producer.ChunkSize(2))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 2)
		if err := one.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("a call that ran: %v", err)
		}
		if v, err := m.Get(ctx(t)); v != nil || !errors.Is(err, results.ErrCanceled) {
			t.Errorf("a map: %v, %v", v, err)
		}
		n, err := producer.Apply(ctx(t), p, square, 5)
		same(t, "the next call", n, err, 25)
		if err := one.Cancel(ctx(t)); err != nil {
			t.Errorf("canceling again: %v", err)
		}
	})
}

func TestApplyWhoseCallerLeavesCancelsTheCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p, gate := e.pool(t), e.probe()
		leaving, leave := context.WithCancel(ctx(t))
		got := make(chan error, 1)
		go func() {
			_, err := producer.Apply(leaving, p, hold, gate)
			got <- err
		}()
		e.awaitStarted(t, gate, 1)
		leave()
		if err := receive(t, "Apply", got); !errors.Is(err, context.Canceled) && !errors.Is(err, results.ErrCanceled) {
			t.Errorf("Apply: %v", err)
		}
		n, err := producer.Apply(ctx(t), p, square, 5) // the only slot is free again
		same(t, "the next call", n, err, 25)
	})
}
