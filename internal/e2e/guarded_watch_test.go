package e2e_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/distpool/distpool/producer"
)

func TestABadObserverCostsNoCall(t *testing.T) {
	for _, in := range []string{"Deliver", "BeginChunk", "EndChunk", "BeginCall", "EndCall", "RoundTrip"} {
		for _, how := range []string{badPanic, badGoexit} {
			t.Run(in+" "+how, func(t *testing.T) {
				each(t, func(t *testing.T, e *env) {
					e.worker(t, 1, badlyObserved(in, how))
					p := e.pool(t)
					vs, err := producer.Map(ctx(t), p, square, numbers(5), producer.ChunkSize(5))
					same(t, "the squares", vs, err, []int{0, 1, 4, 9, 16})
					vs, err = producer.Map(ctx(t), p, badErr, []badCall{{N: 0}, {How: badNil}, {N: 2}}, producer.ChunkSize(3))
					same(t, "beside a failing call", vs, nil, []int{0, 0, 20})
					if failed := failures(t, err); len(failed) != 1 || failed[1] == nil {
						t.Errorf("%v, want a failure of call 1", err)
					}
				})
			})
		}
	}
}

// brokenLog is a handler that misbehaves with everything that it is told.
type brokenLog struct{ how string }

func (brokenLog) Enabled(context.Context, slog.Level) bool { return true }
func (b brokenLog) Handle(context.Context, slog.Record) error {
	misbehave(b.how)
	return nil
}
func (b brokenLog) WithAttrs([]slog.Attr) slog.Handler { return b }
func (b brokenLog) WithGroup(string) slog.Handler      { return b }

func TestABadLogHandlerCostsNoCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		for _, how := range []string{badPanic, badGoexit} {
			w := e.worker(t, 1, func(s *workerSpec) { s.Log = how })
			p := e.pool(t, func(c *producer.Config) { c.Logger = slog.New(brokenLog{how}) })
			vs, err := producer.Map(ctx(t), p, badErr, []badCall{{N: 0}, {How: badNil}, {N: 2}}, producer.ChunkSize(3))
			same(t, "the values", vs, nil, []int{0, 0, 20})
			if failed := failures(t, err); len(failed) != 1 || failed[1] == nil {
				t.Errorf("%v, want a failure of call 1", err)
			}
			if err := w.stop(t); err != nil {
				t.Errorf("the worker ended with %v", err)
			}
		}
	})
}
