package results

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/wire"
)

// Outcome is what became of one call.
type Outcome[R any] struct {
	Value R     // the zero value when the call failed
	Err   error // nil, or the call's *TaskError
}

// All yields the value or the *TaskError of each call, in the order of the
// arguments, each as soon as it and all before it are there, while the job runs.
// A failing call does not end the loop. When there will be no more outcomes
// although some are missing, or ctx ends before they come, the last pair carries
// that error: ErrCanceled, ErrExpired, ErrClosed, ErrCorrupt, or what Wait
// returns. Outcomes that are there are yielded even if ctx has ended.
//
// Leaving the loop early changes nothing for the job, and another loop starts
// from the first call again.
func (m *MapResult[R]) All(ctx context.Context) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		held := map[int]wire.Outcome{} // by first call: those before them are not there
		next := 0
		err := m.follow(ctx, func(o wire.Outcome) (bool, error) {
			if _, twice := held[o.First]; twice || o.First < next {
				return false, fmt.Errorf("%s: %w: two outcomes of call %d", m.describe(), ErrCorrupt, o.First)
			}
			held[o.First] = o
			for {
				o, ok := held[next]
				if !ok {
					return true, nil
				}
				delete(held, next)
				next += o.Calls
				more, err := m.each(o, func(_ int, c Outcome[R]) bool { return yield(c.Value, c.Err) })
				if !more || err != nil {
					return false, err
				}
			}
		})
		if err != nil {
			var zero R
			yield(zero, err)
		}
	}
}

// AsCompleted yields the outcome of each call with its index in the job, in the
// order in which they became known, while the job runs. The calls of a chunk
// become known together. When there will be no more outcomes although some are
// missing, or ctx ends before they come, the last pair carries that error with
// the index -1: see All, which is like this in everything else.
func (m *MapResult[R]) AsCompleted(ctx context.Context) iter.Seq2[int, Outcome[R]] {
	return func(yield func(int, Outcome[R]) bool) {
		err := m.follow(ctx, func(o wire.Outcome) (bool, error) { return m.each(o, yield) })
		if err != nil {
			yield(-1, Outcome[R]{Err: err})
		}
	}
}

// follow hands over the outcomes of the job's chunks as they arrive, until take
// returns false or an error. The error is the reason why there is no next one;
// nil when take wanted no more, or had all calls.
func (m *MapResult[R]) follow(ctx context.Context, take func(wire.Outcome) (bool, error)) error {
	seen, calls := 0, 0
	for {
		news, ended, err := m.arrivals(ctx, seen)
		if err != nil {
			return err
		}
		seen += len(news)
		for _, o := range news {
			if more, err := take(o); !more || err != nil {
				return err
			}
			calls += o.Calls
		}
		if ended {
			return m.whole(calls)
		}
	}
}

// arrivals waits for outcomes after the first seen ones, or for the end. It is
// one wait, however often the job changes without an outcome.
func (m *MapResult[R]) arrivals(ctx context.Context, seen int) (news []wire.Outcome, ended bool, err error) {
	news, ended, changed := m.job.Arrived(seen)
	if len(news) > 0 || ended {
		return news, ended, nil
	}
	deadlock, leave := m.enter(ctx)
	defer leave()
	for len(news) == 0 && !ended {
		select {
		case <-changed:
		case err := <-deadlock:
			return nil, false, fmt.Errorf("waiting for %s: %w", m.describe(), err)
		case <-ctx.Done():
			return nil, false, m.stopped(ctx)
		}
		news, ended, changed = m.job.Arrived(seen)
	}
	return news, ended, nil
}

// whole returns nil when the job, which is settled, has had as many outcomes as
// it should.
func (m *MapResult[R]) whole(calls int) error {
	if err := m.job.Err(); err != nil {
		return m.about(err)
	}
	if want := m.job.Counts().Calls; calls != want {
		return fmt.Errorf("%s: %w: outcomes of %d calls, expected %d", m.describe(), ErrCorrupt, calls, want)
	}
	return nil
}

// each yields the calls of one chunk.
func (m *MapResult[R]) each(o wire.Outcome, yield func(int, Outcome[R]) bool) (more bool, err error) {
	c, err := DecodeChunk(m.job, o, m.decode)
	if err != nil {
		return false, err
	}
	for i, call := range c.All() {
		if !yield(o.First+i, call) {
			return false, nil
		}
	}
	return true, nil
}

// Decoder decodes the values of a chunk into dst. bad says, by index, which of them
// cannot be decoded; an error is about the chunk as a whole. It is tasks.DecodeEach
// with a task.
type Decoder[R any] func(data []byte, dst []R) (bad map[int]error, err error)

// Chunk is the typed outcomes of consecutive calls. Package producer uses it.
type Chunk[R any] struct {
	values []R
	failed []*TaskError // ascending by Call
	first  int
}

// DecodeChunk makes typed outcomes of a chunk's frame. It is called by package
// producer, for its streams.
//
// A value that cannot be decoded is a failure of its call. With a codec that cannot
// tell which one it is, it is one of each call of the chunk.
func DecodeChunk[R any](job *await.Job, o wire.Outcome, decode Decoder[R]) (Chunk[R], error) {
	c := Chunk[R]{values: make([]R, o.Calls), first: o.First}
	err := c.decode(job, o, decode)
	return c, err
}

// decode decodes into the chunk's values, which are zero. What only failures need is in fail: a large
// frame here has the stack of each waiting goroutine copied.
func (c *Chunk[R]) decode(job *await.Job, o wire.Outcome, decode Decoder[R]) error {
	var bad map[int]error
	if len(o.Values) > 0 {
		var err error
		if bad, err = decode(o.Values, c.values); err != nil {
			return undecodable(job, o, err)
		}
	}
	if len(o.Errors) > 0 || len(bad) > 0 {
		c.fail(job, o, bad)
	}
	return nil
}

// fail notes the calls that failed, and those of which the values are bad.
func (c *Chunk[R]) fail(job *await.Job, o wire.Outcome, bad map[int]error) {
	for _, e := range o.Errors {
		c.failed = append(c.failed, taskError(job, o, e))
		delete(bad, e.Call) // a failed call has a filler
		var zero R
		c.values[e.Call] = zero
	}
	for i, err := range bad {
		c.failed = append(c.failed, undecoded(job, o.First+i, err))
	}
	slices.SortFunc(c.failed, func(a, b *TaskError) int { return a.Call - b.Call })
}

func undecodable(job *await.Job, o wire.Outcome, err error) error {
	return fmt.Errorf("job %s of task %q: decoding the values of calls %d to %d: %w", job.ID, job.Task, o.First, o.First+o.Calls-1, err)
}

// All yields the outcomes with their indexes in the chunk.
func (c Chunk[R]) All() iter.Seq2[int, Outcome[R]] {
	return func(yield func(int, Outcome[R]) bool) {
		failed := c.failed
		for i, v := range c.values {
			o := Outcome[R]{Value: v}
			if len(failed) > 0 && failed[0].Call == c.first+i {
				o = Outcome[R]{Err: failed[0]}
				failed = failed[1:]
			}
			if !yield(i, o) {
				return
			}
		}
	}
}
