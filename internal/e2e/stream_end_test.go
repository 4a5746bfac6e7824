package e2e_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// lastError takes all of a stream and returns the error of its last pair.
func lastError[R any](s iter.Seq2[R, error]) (last error) {
	for _, err := range s {
		last = err
	}
	return last
}

func TestLeavingAStreamCancelsWhatIsOnItsWay(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p, gate := e.pool(t), e.probe()
		blocking := func(yield func(string) bool) {
			for range 2 {
				if !yield(actFine) {
					return
				}
			}
		}
		for v, err := range producer.IMap(ctx(t), p, act, blocking) {
			if v != actFine || err != nil {
				t.Fatal(v, err)
			}
			break
		}
		leaving, leave := context.WithCancel(ctx(t))
		go func() {
			e.awaitStarted(t, gate, 2)
			leave()
		}()
		var last error
		for _, err := range producer.IMapUnordered(leaving, p, hold, forever(gate)) {
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("the last pair of a stream whose context ended: %v", last)
		}
		eventually(t, "the running calls' contexts are canceled", func() bool {
			return e.rdb.SCard(ctx(t), gate.Key+":canceled").Val() == 2
		})
		e.noTrace(t)
		for _, err := range producer.IMapUnordered(leaving, p, square, upTo(10, nil)) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a stream whose context has ended before: %v", err)
			}
		}
	})
}

func forever[T any](v T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for yield(v) {
		}
	}
}

func TestAnInputThatPanicsEndsItsStreamAfterTheCallsBeforeIt(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		input := func(yield func(int) bool) {
			for i := range 10 {
				if !yield(i) {
					return
				}
			}
			panic("out of numbers")
		}
		var got []int
		var last error
		for v, err := range producer.IMap(ctx(t), p, square, input) {
			if last != nil {
				t.Errorf("%d, %v came after the error", v, err)
			}
			if last = err; err == nil {
				got = append(got, v)
			}
		}
		if len(got) != 10 || got[9] != 81 {
			t.Errorf("before the error came %v", got)
		}
		mentions(t, last, "square", "panicked", "out of numbers")
		e.noTrace(t)
	})
}

func TestAnArgumentThatDoesNotTravelEndsItsStreamAfterTheCallsBeforeIt(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t, func(c *producer.Config) { c.MaxArgument = 1000 })
		run := func(bad func(yield func(error) bool)) (n int, last error) {
			for err := range bad {
				if last = err; err == nil {
					n++
				}
			}
			return n, last
		}
		n, err := run(func(yield func(error) bool) {
			for _, err := range producer.IMap(ctx(t), p, divide, slices.Values([]float64{1, 2, 3, math.NaN(), 4})) {
				if !yield(err) {
					return
				}
			}
		})
		var ae *tasks.ArgError
		if n != 3 || !errors.As(err, &ae) || ae.Call != 3 {
			t.Errorf("an argument that does not encode: %d values, %v", n, err)
		}
		n, err = run(func(yield func(error) bool) {
			for _, err := range producer.IMap(ctx(t), p, size, slices.Values([][]byte{{1}, {2}, make([]byte, 2000)})) {
				if !yield(err) {
					return
				}
			}
		})
		if n != 2 {
			t.Errorf("an argument that is too large came after %d values, want 2", n)
		}
		mentions(t, err, "call 2", "MaxArgument")
		e.noTrace(t)
	})
}

func TestClosingAPoolLetsItsStreamsEndAndTerminateEndsThem(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		n := 0
		for v, err := range producer.IMap(ctx(t), p, square, upTo(500, nil), producer.Window(4)) {
			if err != nil || v != n*n {
				t.Fatal(v, err)
			}
			if n++; n == 5 {
				p.Close()
			}
		}
		if n != 500 {
			t.Errorf("%d values of a stream whose pool was closed, want all 500", n)
		}
		refused := lastError(producer.IMap(ctx(t), p, square, upTo(1, nil)))
		if !errors.Is(refused, producer.ErrClosed) {
			t.Errorf("a stream of a closed pool: %v", refused)
		}
		q := e.pool(t)
		var last error
		n = 0
		for _, last = range producer.IMap(ctx(t), q, square, upTo(math.MaxInt, nil), producer.Window(4)) {
			if n++; n == 5 {
				if err := q.Terminate(ctx(t)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !errors.Is(last, results.ErrCanceled) {
			t.Errorf("a stream whose pool was terminated ends with %v", last)
		}
	})
}

// A stream whose record is gone must not wait for it, however often it renews the record.
func TestAStreamWhoseRecordIsLostSaysSo(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		for _, ttl := range []time.Duration{time.Second, time.Hour} { // renewed each 250 ms, or hardly ever
			gate := e.probe()
			err := lastError(producer.IMap(ctx(t), e.pool(t, func(c *producer.Config) { c.JobTTL = ttl }), hold, func(yield func(probe) bool) {
				if !yield(gate) {
					return
				}
				e.awaitStarted(t, gate, 1)
				keys := e.jobsKeys(t)
				if len(keys) == 0 {
					t.Error("the stream has no record")
				}
				for _, key := range keys {
					must(t, e.rdb.Del(ctx(t), key).Err())
				}
				yield(gate)
			}))
			if !errors.Is(err, results.ErrExpired) {
				t.Errorf("with a JobTTL of %v it ends with %v, want ErrExpired", ttl, err)
			}
			e.open(t, gate)
		}
	})
}
