package producer

import (
	"context"
	"errors"
	"iter"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// IMap runs one call for each argument that args yields, and yields their values
// in the order of the arguments, each as soon as it and all before it are there.
// args may be infinite: it is read only as far ahead of the loop as the window
// allows (see Window), so a slow loop slows the reading, and neither this process
// nor Redis holds more than the window.
//
// Nothing happens before the loop starts, and each loop over the result is a
// stream of its own, which reads args from its beginning. args is read on another
// goroutine than the loop's, and may block: results come all the same. Each argument is
// encoded, or copied, before args is asked for the next one, so args may reuse its
// memory.
//
// A failing call, or one whose value cannot be decoded here, is a pair of the zero
// value and its *results.TaskError, and the stream goes on. Every other error is the last pair of its stream: that of an
// args that panics (with an error: errors.Is finds it; the stack is in the pool's log)
// and of an argument that cannot be encoded (*tasks.ArgError),
// both after the outcomes of all calls before it; the cause of ctx, when ctx
// ends; ErrClosed, results.ErrCanceled (by Pool.Terminate), results.ErrExpired;
// and that of a Redis that does not take new calls for about 10 seconds.
//
// When the stream ends, or its loop is left early, calls that are on their way
// are canceled, and nothing of the stream stays in Redis. The loop ends once args
// is not read any more; an args that blocks is waited for at most a second, and is
// told to stop when it yields the next time.
//
// A stream adapts its chunks to its calls, unless ChunkSize is given: it starts
// with single calls and aims at 50 to 200 ms of work for each chunk, and at no
// more than 256 KiB of arguments or values.
func IMap[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args iter.Seq[A], opts ...Option) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) { imap(ctx, p, t, args, opts, &inOrder{}, withoutIndex(yield)) }
}

// IMapUnordered is IMap with the values in the order in which they become known:
// one slow call does not hold up the others.
func IMapUnordered[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args iter.Seq[A], opts ...Option) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) { imap(ctx, p, t, args, opts, anyOrder{}, withoutIndex(yield)) }
}

// IMapAsCompleted is IMapUnordered with the index of each call in args, counted
// from 0, so that values find their arguments. The error that ends a stream early
// comes with the index -1.
func IMapAsCompleted[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args iter.Seq[A], opts ...Option) iter.Seq2[int, results.Outcome[R]] {
	return func(yield func(int, results.Outcome[R]) bool) { imap(ctx, p, t, args, opts, anyOrder{}, yield) }
}

func withoutIndex[R any](yield func(R, error) bool) func(int, results.Outcome[R]) bool {
	return func(_ int, o results.Outcome[R]) bool { return yield(o.Value, o.Err) }
}

// order decides which of the outcomes that have arrived are next.
type order interface {
	// next returns the outcomes to yield now that these have arrived.
	next([]wire.Outcome) []wire.Outcome
}

type anyOrder struct{}

func (anyOrder) next(arrived []wire.Outcome) []wire.Outcome { return arrived }

type inOrder struct {
	held map[int]wire.Outcome // by first call: those before them are not here
	call int                  // to be yielded next
}

func (s *inOrder) next(arrived []wire.Outcome) (ready []wire.Outcome) {
	if s.held == nil {
		s.held = map[int]wire.Outcome{}
	}
	for _, o := range arrived {
		s.held[o.First] = o
	}
	for {
		o, ok := s.held[s.call]
		if !ok {
			return ready
		}
		delete(s.held, s.call)
		s.call += o.Calls
		ready = append(ready, o)
	}
}

// imap runs one loop over a stream.
func imap[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args iter.Seq[A], opts []Option, sequence order, yield func(int, results.Outcome[R]) bool) {
	s, err := p.openStream(ctx, t, opts)
	if err != nil {
		yield(-1, results.Outcome[R]{Err: err})
		return
	}
	fail := func(err error) {
		s.failure = err
		yield(-1, results.Outcome[R]{Err: err})
	}
	decode := decoder(t)
	in := &intake[A]{stream: s, held: tasks.Hold(t)}
	go in.read(args)
	go s.run(in)
	defer s.leave()
	for {
		arrived, ended, err := s.arrivals(ctx)
		for _, o := range sequence.next(arrived) {
			c, err := results.DecodeChunk(s.job, o, decode)
			if err != nil {
				fail(err)
				return
			}
			for i, outcome := range c.All() {
				if ctx.Err() != nil {
					fail(s.stopped(ctx))
					return
				}
				s.delivered()
				if !yield(o.First+i, outcome) {
					return
				}
			}
		}
		if err != nil {
			fail(err)
		}
		if ended {
			return
		}
	}
}

// intake is the typed end of a stream: arguments that were read and not sent.
type intake[A any] struct {
	stream *stream

	held *tasks.Held[A] // guarded by stream.mu
	base int            // call number of the first in held; of the sending goroutine
}

// read is the reader: it reads the input to its end, or until it is told to stop.
func (in *intake[A]) read(args iter.Seq[A]) {
	s := in.stream
	err := errors.New("the input called runtime.Goexit")
	defer close(s.inputRead)
	defer func() { s.inputEnds(err) }()
	defer func() {
		if p := recover(); p != nil {
			err = s.inputPanicked(p)
		}
	}()
	for a := range args {
		enough, aerr := in.keep(a)
		if aerr != nil {
			err = aerr
			return
		}
		if enough {
			kick(s.wake)
		}
		if !s.awaitRoom() {
			break
		}
	}
	err = nil
}

// keep takes an argument in, as it is now: the input may change it when it is asked for
// the next one. It reports whether there are enough to wake the sender.
func (in *intake[A]) keep(a A) (enough bool, err error) {
	s := in.stream
	one, err := in.held.Keep(s.sendCtx, int(s.read.Load()), a) // encoding takes the user's methods, and time
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in.held.Add(one)
	s.read.Add(1)
	return in.held.Len() >= s.wanted, nil
}

// encode encodes the arguments of calls lo to hi-1.
func (in *intake[A]) encode(lo, hi int, raw call.Reads) ([]byte, error) {
	in.stream.mu.Lock()
	some := in.held.Slice(lo-in.base, hi-in.base)
	in.stream.mu.Unlock()
	return some.Encode(in.stream.sendCtx, raw) // the reader appends behind these, and nothing else
}

// drop forgets the arguments of the calls before that one.
func (in *intake[A]) drop(before int) {
	in.stream.mu.Lock()
	defer in.stream.mu.Unlock()
	in.held.Drop(before - in.base)
	in.base = before
}
