package e2e_test

import (
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
)

// promptly is much less than what it takes until a delivery that is missing is found.
const promptly = 8 * time.Second

func TestAnIDThatWasForgottenIsFree(t *testing.T) {
	t.Run("while a call of the old job still runs", func(t *testing.T) {
		each(t, func(t *testing.T, e *env) {
			e.worker(t, 2)
			p, key := e.pool(t), producer.ID(e.queue+"-running")
			old, err := producer.ApplyAsync(ctx(t), p, stubborn, 1500, key)
			must(t, err)
			eventually(t, "the call runs", func() bool { return e.queueInfo(t).Active == 1 })
			must(t, old.Forget(ctx(t)))
			r, err := producer.ApplyAsync(ctx(t), p, stubborn, 5, key)
			must(t, err)
			v, err := r.GetTimeout(promptly)
			same(t, "the new job", v, err, 5)
			// The old call ends now, and must not touch the new job.
			again, err := producer.Apply(ctx(t), p, stubborn, 1600)
			same(t, "a call that outlasts it", again, err, 1600)
			attached, err := producer.Attach(ctx(t), e.pool(t), stubborn, r.ID())
			must(t, err)
			v, err = attached.Get(ctx(t))
			same(t, "the new job, read again", v, err, 5)
		})
	})
	t.Run("after a failure that operators still see", func(t *testing.T) {
		each(t, func(t *testing.T, e *env) {
			e.worker(t, 1)
			p, key := e.pool(t), producer.ID(e.queue+"-failed")
			old, err := producer.ApplyAsync(ctx(t), p, act, actError, key)
			must(t, err)
			_, err = old.Get(ctx(t))
			taskError(t, err)
			eventually(t, "the failure is archived", func() bool { return e.queueInfo(t).Archived == 1 })
			must(t, old.Forget(ctx(t)))
			r, err := producer.ApplyAsync(ctx(t), p, act, actFine, key)
			must(t, err)
			v, err := r.GetTimeout(promptly)
			same(t, "the new job", v, err, actFine)
		})
	})
}

func TestLimitsOfOptionsDoNotOverflow(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		n := 0
		for v, err := range producer.IMap(ctx(t), p, square, upTo(10, nil), producer.ChunkSize(1<<62)) {
			same(t, "a square", v, err, n*n)
			n++
		}
		if n != 10 {
			t.Errorf("%d values", n)
		}
		if _, err := producer.ApplyAsync(ctx(t), p, square, 1, producer.Delay(1<<63-1)); err == nil {
			t.Error("a delay of 292 years was accepted")
		}
	})
}
