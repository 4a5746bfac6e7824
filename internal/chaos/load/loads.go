package load

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// loads are the kinds of load: what one submission is.
var loads = map[string]func(l *load, ctx context.Context, rng *rand.Rand){
	"apply":   (*load).apply,
	"slow":    (*load).slow,
	"long":    (*load).long,
	"map":     (*load).mapped,
	"mixed":   (*load).mixed,
	"starmap": (*load).starmap,
	"retry":   (*load).retry,
	"cancel":  (*load).cancel,
	"chosen":  (*load).chosen,
	"attach":  (*load).attach,
	"imap":    (*load).imap,
	"watched": (*load).watched,
}

// Loads lists the kinds of load.
func Loads() []string { return slices.Sorted(maps.Keys(loads)) }

func args(sub string, p history.Plan) []Arg {
	as := make([]Arg, p.Calls)
	for i := range as {
		as[i] = Arg{sub, i, p}
	}
	return as
}

// send submits a map, or a single call.
func (l *load) send(plan history.Plan, opts ...producer.Option) func(context.Context, string) (handle, error) {
	return func(ctx context.Context, sub string) (handle, error) {
		as := args(sub, plan)
		if plan.Verb == "apply" {
			r, err := producer.ApplyAsync(ctx, l.pool, runTask, as[0], opts...)
			return one{r}, err
		}
		m, err := producer.MapAsync(ctx, l.pool, runTask, as, opts...)
		return many{m}, err
	}
}

func (l *load) apply(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "apply", Calls: 1, Slow: rng.IntN(3)}
	h, name := l.submit(plan, "", "", l.send(plan))
	l.await(h, name, rng.IntN(4) == 0)
}

// slow is a call that is most likely to be running when something breaks.
func (l *load) slow(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "apply", Calls: 1, Slow: 500 + rng.IntN(1500)}
	h, name := l.submit(plan, "", "", l.send(plan))
	l.await(h, name, false)
}

// long is a map whose chunks take seconds, so that they are saved half way.
func (l *load) long(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "map", Calls: 10 + rng.IntN(30), Slow: 40 + rng.IntN(120)}
	h, name := l.submit(plan, "", "", l.send(plan, producer.ChunkSize(10+rng.IntN(10))))
	l.await(h, name, false)
}

func (l *load) mapped(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "map", Calls: 1 + rng.IntN(60), Slow: rng.IntN(4)}
	h, name := l.submit(plan, "", "", l.send(plan, producer.ChunkSize(rng.IntN(12))))
	l.await(h, name, rng.IntN(4) == 0)
}

func (l *load) mixed(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "map", Calls: 1 + rng.IntN(40), Mix: history.Mixed, Slow: rng.IntN(4)}
	h, name := l.submit(plan, "", "", l.send(plan, producer.ChunkSize(rng.IntN(8))))
	l.await(h, name, rng.IntN(4) == 0)
}

func (l *load) starmap(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "starmap", Calls: 1 + rng.IntN(40), Slow: rng.IntN(3)}
	h, name := l.submit(plan, "", "", func(ctx context.Context, sub string) (handle, error) {
		as := make([]tasks.Args2[Arg, int], plan.Calls)
		for i := range as {
			as[i] = tasks.Of2(Arg{sub, 0, plan}, i)
		}
		m, err := producer.StarmapAsync(ctx, l.pool, pairTask, as, producer.ChunkSize(rng.IntN(8)))
		return many{m}, err
	})
	l.await(h, name, false)
}

func (l *load) retry(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "map", Calls: 1 + rng.IntN(15), Mix: history.Flaky, Retries: 1 + rng.IntN(3)}
	wait := time.Duration(20+rng.IntN(400)) * time.Millisecond
	h, name := l.submit(plan, "", "", l.send(plan, producer.Retry(plan.Retries, tasks.Every(wait)), producer.ChunkSize(1+rng.IntN(5))))
	l.await(h, name, false)
}

// watched is a map of which some calls wait seconds for their next attempts, while
// the outcomes of the others are looked at.
func (l *load) watched(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "map", Calls: 2 + rng.IntN(12), Mix: history.Flaky, Retries: history.FlakyAttempts}
	h, name := l.submit(plan, "", "", l.send(plan, producer.Retry(plan.Retries, tasks.Every(4*time.Second)), producer.ChunkSize(1)))
	if h == nil {
		return
	}
	l.room <- struct{}{}
	l.waiting.Go(func() {
		defer func() { <-l.room }()
		for call, o := range h.(many).AsCompleted(l.until) {
			out := history.Outcome{Value: o.Value.N, Run: o.Value.Run}
			if o.Err != nil {
				var te *results.TaskError
				if !errors.As(o.Err, &te) {
					break // the job has no more outcomes: Get says why
				}
				out = failedOutcome(te)
			}
			l.h.Write(history.Event{What: history.Saw, Handle: name, Call: call, Outs: []history.Outcome{out}})
		}
		l.await(h, name, false)
	})
}

// cancel cancels a map that would take seconds.
func (l *load) cancel(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "map", Calls: 40, Slow: 100}
	h, name := l.submit(plan, "", "", l.send(plan, producer.ChunkSize(10+rng.IntN(31))))
	if h == nil {
		return
	}
	time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond) // the load itself: a caller who changes his mind
	l.h.Write(history.Event{What: history.CancelAsked, Job: h.ID()})
	ctx, cancel := context.WithTimeout(context.Background(), submitLimit)
	defer cancel()
	_ = h.Cancel(ctx) // if Redis cannot be told, the job goes on
	l.await(h, name, false)
}

// chosen submits under an ID at which all producers arrive at about the same
// time.
func (l *load) chosen(_ context.Context, rng *rand.Rand) {
	id := fmt.Sprintf("chosen-%d-%d", l.spec.Seed, time.Now().Unix()/2)
	plan := history.Plan{Verb: "map", Calls: 12, Slow: 5}
	h, name := l.submit(plan, id, id, l.send(plan, producer.ID(id), producer.ChunkSize(1+rng.IntN(6))))
	l.await(h, name, false)
}

// attach takes a handle on a job of another process.
func (l *load) attach(ctx context.Context, rng *rand.Rand) {
	e, ok := l.others.pick(rng)
	if !ok {
		return
	}
	name := l.name()
	l.h.Write(history.Event{What: history.Attached, Job: e.Job, Handle: name})
	ctx, cancel := context.WithTimeout(ctx, submitLimit)
	defer cancel()
	h, err := attach(ctx, l.pool, e)
	switch {
	case err == nil:
		l.await(h, name, false)
	case errors.Is(err, results.ErrUnknownJob):
		l.h.Write(history.Event{What: history.Got, Handle: name, Err: classify(err), Text: err.Error()})
	default: // Redis is away
	}
}

// attach takes a handle on a job that was accepted.
func attach(ctx context.Context, pool *producer.Pool, accepted history.Event) (handle, error) {
	if accepted.Plan.Verb == "starmap" {
		m, err := producer.AttachMap(ctx, pool, pairTask, accepted.Job)
		return many{m}, err
	}
	m, err := producer.AttachMap(ctx, pool, runTask, accepted.Job)
	return many{m}, err
}

// imap takes the results of a stream, now and then not to its end.
func (l *load) imap(_ context.Context, rng *rand.Rand) {
	plan := history.Plan{Verb: "imap", Calls: 1 + rng.IntN(120), Slow: rng.IntN(4)}
	stream := producer.IMap[Arg, Value]
	if rng.IntN(2) == 0 {
		plan.Verb, stream = "imap-unordered", producer.IMapUnordered[Arg, Value]
	}
	if rng.IntN(3) == 0 {
		plan.Mix = history.Mixed
	}
	leave := plan.Calls
	if rng.IntN(5) == 0 {
		leave = rng.IntN(plan.Calls)
	}
	sub := l.name()
	l.h.Write(history.Event{What: history.Submit, Sub: sub, Plan: &plan})
	l.follow(sub, leave, plan, stream(l.until, l.pool, runTask, slices.Values(args(sub, plan))))
}

// follow writes down what the stream yields, and leaves it after so many calls.
func (l *load) follow(sub string, leave int, plan history.Plan, stream iter.Seq2[Value, error]) {
	n := 0
	for v, err := range stream {
		if n == leave && leave < plan.Calls {
			l.h.Write(history.Event{What: history.Left, Sub: sub})
			return
		}
		call, o := n, history.Outcome{Value: v.N, Run: v.Run}
		if err != nil {
			var te *results.TaskError
			if !errors.As(err, &te) {
				l.h.Write(history.Event{What: history.Ended, Sub: sub, Err: classify(err), Text: err.Error()})
				return
			}
			call, o = te.Call, failedOutcome(te)
		} else if plan.Verb != "imap" {
			call = callOf(sub, plan, v.N)
		}
		l.h.Write(history.Event{What: history.Yielded, Sub: sub, Call: call, Outs: []history.Outcome{o}})
		n++
	}
	l.h.Write(history.Event{What: history.Ended, Sub: sub})
}

// callOf finds the call that has this value; -1 if none has.
func callOf(sub string, plan history.Plan, value uint32) int {
	for i := range plan.Calls {
		if history.Value(sub, i) == value {
			return i
		}
	}
	return -1
}
