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
		gate := e.probe()
		// stopped calls f with contexts that end, with the cause, later and later, until
		// one ends while f waits and not while it submits.
		stopped := func(cause error, f func(context.Context) error) error {
			for after := 50 * time.Millisecond; ; after *= 2 {
				c, cancel := context.WithCancelCause(ctx(t))
				timer := time.AfterFunc(after, func() { cancel(cause) })
				err := f(c)
				timer.Stop()
				cancel(nil)
				if err == nil || !strings.HasPrefix(err.Error(), "submitting") {
					return err
				}
			}
		}
		enough := errors.New("the caller has had enough")
		for _, cause := range []error{context.DeadlineExceeded, enough} {
			for _, err := range []error{
				stopped(cause, func(c context.Context) error { _, err := producer.Apply(c, p, hold, gate); return err }),
				stopped(cause, func(c context.Context) error {
					_, err := producer.Map(c, p, hold, []probe{gate, gate})
					return err
				}),
			} {
				if !errors.Is(err, cause) || errors.Is(err, results.ErrTimeout) != (cause != enough) {
					t.Errorf("%v is not %v", err, cause)
				}
				mentions(t, err, "canceled")
				if err != nil && strings.Contains(err.Error(), "goes on") {
					t.Errorf("the job is canceled, and the error says %q", err)
				}
			}
		}
		id := "blocking-" + e.queue
		err := stopped(context.DeadlineExceeded, func(c context.Context) error {
			_, err := producer.Map(c, p, hold, []probe{gate}, producer.ID(id))
			return err
		})
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
