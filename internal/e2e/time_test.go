package e2e_test

import (
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestAJobThatNobodyStartsInTimeIsCanceled(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p, other, gate := e.pool(t), e.pool(t), e.probe()
		begin := time.Now()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate, producer.ExpiresIn(300*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		m, err := producer.MapAsync(ctx(t), p, hold, []probe{gate, gate, gate}, producer.ChunkSize(1), producer.ExpiresIn(300*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		attached, err := producer.AttachMap(ctx(t), other, hold, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		_, err1 := r.Get(ctx(t))
		if took := time.Since(begin); took < 300*time.Millisecond || took > 10*time.Second {
			t.Errorf("the job expired after %v, want 300ms", took)
		}
		_, err2 := m.Get(ctx(t))
		_, err3 := attached.Get(ctx(t))
		late, err := producer.Attach(ctx(t), other, hold, r.ID())
		if err != nil {
			t.Fatal(err)
		}
		_, err4 := late.Get(ctx(t))
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, results.ErrNotStarted) || !errors.Is(err, results.ErrCanceled) {
				t.Errorf("handle %d: the error is %v", i, err)
			}
		}
		eventually(t, "the deliveries are withdrawn", func() bool { return e.queueInfo(t).Size == 0 })
		e.worker(t, 2)
		n, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "the next call", n, err, 9)
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 0 {
			t.Errorf("%d calls were started of jobs that had expired", n)
		}
	})
}

func TestAJobThatStartsInTimeDoesNotExpire(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p, gate := e.pool(t), e.probe()
		e.worker(t, 1)
		const limit = 2 * time.Second
		begin := time.Now()
		m, err := producer.MapAsync(ctx(t), p, hold, []probe{gate, gate}, producer.ChunkSize(1), producer.ExpiresIn(limit))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		waiting, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.ExpiresIn(limit)) // behind the first
		if err != nil {
			t.Fatal(err)
		}
		if _, err := waiting.Get(ctx(t)); !errors.Is(err, results.ErrNotStarted) {
			t.Errorf("a job that waited behind another one: %v", err)
		}
		if time.Since(begin) < limit {
			t.Error("it did not wait for as long as it had")
		}
		e.open(t, gate) // the second chunk begins after the limit
		if v, err := m.Get(ctx(t)); err != nil || len(v) != 2 {
			t.Errorf("a job that had begun: %v, %v", v, err)
		}
	})
}

func TestADelayedJobStartsAtItsTime(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		const delay = 700 * time.Millisecond
		begin := time.Now()
		r, err := producer.MapAsync(ctx(t), p, square, []int{2, 3}, producer.ChunkSize(1), producer.Delay(delay))
		if err != nil {
			t.Fatal(err)
		}
		q := e.queueInfo(t)
		if q.Scheduled != 2 || q.Pending != 0 {
			t.Errorf("%d deliveries are scheduled and %d pending, want 2 and 0", q.Scheduled, q.Pending)
		}
		v, err := r.Get(ctx(t))
		took := time.Since(begin)
		if err != nil || len(v) != 2 || v[1] != 9 {
			t.Errorf("Get: %v, %v", v, err)
		}
		if took < delay || took > delay+2500*time.Millisecond {
			t.Errorf("the job took %v, want a little more than its delay of %v", took, delay)
		}
		begin = time.Now()
		n, err := producer.Apply(ctx(t), p, square, 4, producer.At(begin.Add(-time.Hour)))
		same(t, "a call whose time has passed", n, err, 16)
	})
}

func TestADelayedJobStartsWithoutItsProducer(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		at := time.Now().Add(1200 * time.Millisecond)
		r, err := producer.ApplyAsync(ctx(t), p, square, 5, producer.At(at), producer.ID(e.queue))
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
		if _, err := r.Get(ctx(t)); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("the handle of a released pool: %v", err)
		}
		// Joining it must not start it now.
		again, err := producer.ApplyAsync(ctx(t), e.pool(t), square, 5, producer.ID(e.queue))
		if err != nil {
			t.Fatal(err)
		}
		n, err := again.Get(ctx(t))
		same(t, "the delayed call", n, err, 25)
		if early := time.Until(at); early > 0 {
			t.Errorf("the call ran %v before its time", early)
		}
	})
}

func TestADelayedJobCanBeCanceledBefore(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		r, err := producer.ApplyAsync(ctx(t), p, square, 5, producer.Delay(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		ttl := e.rdb.PTTL(ctx(t), record.Keys(r.ID())[0]).Val()
		if ttl < producer.DefaultJobTTL+50*time.Minute {
			t.Errorf("the record lives for %v, want JobTTL from the start on", ttl)
		}
		if err := r.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("Get: %v", err)
		}
		if n := e.queueInfo(t).Size; n != 0 {
			t.Errorf("%d deliveries are left", n)
		}
		// The limit counts from the start.
		r, err = producer.ApplyAsync(ctx(t), p, square, 5, producer.Delay(time.Second), producer.ExpiresIn(500*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := r.Get(ctx(t)); !errors.Is(err, results.ErrNotStarted) {
			t.Errorf("a delayed job that nobody starts: %v", err)
		}
		if took := time.Since(begin); took < 1400*time.Millisecond {
			t.Errorf("it expired after %v, want 1.5s", took)
		}
	})
}

func TestCanceledJobsLeaveNoDeliveries(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		// Few enough for the time that Redis is given for it, on a slow machine too.
		m, err := producer.MapAsync(ctx(t), p, square, numbers(12), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		forgotten, err := producer.MapAsync(ctx(t), p, square, numbers(10), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		if n := e.queueInfo(t).Pending; n != 22 {
			t.Errorf("%d deliveries are pending, want 22", n)
		}
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if n := e.queueInfo(t).Size; n != 10 {
			t.Errorf("%d deliveries are left after Cancel, want those of the other job", n)
		}
		if err := forgotten.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if n := e.queueInfo(t).Size; n != 0 {
			t.Errorf("%d deliveries are left after Forget", n)
		}
	})
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	usual(t)
	e := newEnv(t, "redis://"+miniredis.RunT(t).Addr(), false)
	p := e.pool(t)
	soon := time.Now().Add(time.Hour)
	for name, opts := range map[string][]producer.Option{
		"producer.ExpiresIn(0s)":   {producer.ExpiresIn(0)},
		"producer.ExpiresIn(-1s)":  {producer.ExpiresIn(-time.Second)},
		"producer.Delay(-1s)":      {producer.Delay(-time.Second)},
		"producer.At(0001":         {producer.At(time.Time{})},
		"exclude each other":       {producer.Delay(time.Second), producer.At(soon)},
		"exclude each other: use ": {producer.At(soon), producer.Delay(0)},
	} {
		_, err := producer.ApplyAsync(ctx(t), p, square, 1, opts...)
		mentions(t, err, name)
	}
}
