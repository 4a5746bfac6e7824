package load

import (
	"context"
	"errors"

	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// handle is a handle on a job of any kind.
type handle interface {
	ID() string
	Cancel(context.Context) error
	// get waits for the values, of which there is one for each call.
	get(context.Context) ([]Value, error)
}

type one struct{ *results.AsyncResult[Value] }

func (o one) get(ctx context.Context) ([]Value, error) {
	v, err := o.Get(ctx)
	return []Value{v}, err
}

type many struct{ *results.MapResult[Value] }

func (m many) get(ctx context.Context) ([]Value, error) { return m.Get(ctx) }

// outcomes are the values and errors of Get in the form of the history: an
// outcome for each call, or an error of the whole job with its text.
func outcomes(vs []Value, err error) (outs []history.Outcome, class, text string) {
	var failed []*results.TaskError
	var te *results.TaskError
	var me *results.MapError
	switch {
	case err == nil:
	case errors.As(err, &me):
		failed = me.Errors
	case errors.As(err, &te):
		failed = []*results.TaskError{te}
	default:
		return nil, classify(err), err.Error()
	}
	outs = make([]history.Outcome, len(vs))
	for i, v := range vs {
		outs[i] = history.Outcome{Value: v.N, Run: v.Run}
	}
	for _, te := range failed {
		if te.Call < len(outs) {
			outs[te.Call] = failedOutcome(te)
		}
	}
	return outs, "", ""
}

func failedOutcome(te *results.TaskError) history.Outcome {
	o := history.Outcome{Kind: string(te.Kind), Run: runOf(te.Message), Attempts: te.Attempts}
	if o.Kind != history.KindWorkerLost && o.Run == "" {
		o.Kind += ": " + te.Message // not one that was planned: the checker shows it
	}
	return o
}

// classify names the error of a whole job.
func classify(err error) string {
	for _, c := range []struct {
		is   error
		name string
	}{
		{results.ErrCanceled, history.ErrCanceled},
		{results.ErrExpired, history.ErrExpired},
		{results.ErrUnknownJob, history.ErrUnknown},
		{results.ErrClosed, history.ErrClosed},
		{results.ErrTimeout, history.ErrTimeout},
		{context.Canceled, history.ErrTimeout},
	} {
		if errors.Is(err, c.is) {
			return c.name
		}
	}
	return history.ErrOther
}

// Outcomes attaches to an accepted job, and returns its outcomes in the form of the
// history: one for each call, or the error of the whole job, with its class and text.
func Outcomes(ctx context.Context, pool *producer.Pool, accepted history.Event) (outs []history.Outcome, class, text string, err error) {
	h, err := attach(ctx, pool, accepted)
	var vs []Value
	if err == nil {
		vs, err = h.get(ctx)
	}
	outs, class, text = outcomes(vs, err)
	return outs, class, text, err
}
