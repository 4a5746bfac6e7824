package e2e_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func TestABlockingFormSaysWhatBecomesOfItsJob(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		// stopped returns a context that ends, with the cause, once the call runs.
		stopped := func(gate probe, cause error) context.Context {
			c, cancel := context.WithCancelCause(ctx(t))
			go func() {
				for e.rdb.LLen(c, gate.Key+":started").Val() == 0 && c.Err() == nil {
					time.Sleep(5 * time.Millisecond)
				}
				cancel(cause)
			}()
			return c
		}
		enough := errors.New("the caller has had enough")
		for _, cause := range []error{context.DeadlineExceeded, enough} {
			one, many := e.probe(), e.probe()
			_, aerr := producer.Apply(stopped(one, cause), p, hold, one)
			_, merr := producer.Map(stopped(many, cause), p, hold, []probe{many, many})
			for _, err := range []error{aerr, merr} {
				if !errors.Is(err, cause) || errors.Is(err, results.ErrTimeout) != (cause != enough) {
					t.Errorf("%v is not %v", err, cause)
				}
				mentions(t, err, "canceled")
				if strings.Contains(err.Error(), "goes on") {
					t.Errorf("the job is canceled, and the error says %q", err)
				}
			}
		}
		gate, id := e.probe(), "blocking-"+e.queue
		_, err := producer.Map(stopped(gate, context.DeadlineExceeded), p, hold, []probe{gate}, producer.ID(id))
		mentions(t, err, "the job goes on")
		m, err := producer.AttachMap(ctx(t), p, hold, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.GetTimeout(time.Millisecond); !errors.Is(err, results.ErrTimeout) || strings.Contains(err.Error(), "cancel") {
			t.Errorf("a handle's wait ended with %v", err)
		}
		e.open(t, gate)
		if _, err := m.Get(ctx(t)); err != nil {
			t.Errorf("the job with an ID ended with %v", err)
		}
	})
}
