// Package stream runs loops over streams: it yields the outcomes of calls while it reads
// their arguments and submits them. In a loop (loop.go) three goroutines have a part
// (stream.go): the reader, the sender (sender.go) and the loop itself. pace.go finds the size
// of chunks.
package stream

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// inOrder decides which of the outcomes that have arrived are next.
type inOrder struct {
	held map[int]wire.Outcome // by first call: those before them are not here
	call int                  // to be yielded next
}

func (s *inOrder) next(arrived []wire.Outcome) (ready []wire.Outcome) {
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

// Run runs one loop over a stream: it yields the outcome of each call of args with its
// index, in the order of args if ordered is true. An error that ends it has the index -1.
func Run[A, R any](ctx context.Context, p *submit.Pool, t *tasks.Task[A, R], args iter.Seq[A], o *submit.Options, ordered bool, yield func(int, results.Outcome[R]) bool) {
	about := func(err error) error { return fmt.Errorf("stream of task %q: %w", t.Name(), err) }
	o.Origin.Verb = observe.Stream
	s, err := open(ctx, p, t, o)
	if err != nil {
		yield(-1, results.Outcome[R]{Err: about(err)})
		return
	}
	fail := func(err error) {
		s.failure = about(err)
		yield(-1, results.Outcome[R]{Err: s.failure})
	}
	in := &intake[A]{stream: s, held: tasks.Hold(t)}
	s.Cutter.Encode, s.drop = in.encode, in.drop
	go in.read(args)
	go s.run()
	defer s.leave()
	sequence := inOrder{held: map[int]wire.Outcome{}}
	for {
		arrived, ended, err := s.arrivals(ctx)
		if ordered {
			arrived = sequence.next(arrived)
		}
		for _, o := range arrived {
			c, err := results.DecodeChunk(s.Job, o, submit.Decoder(t))
			if err != nil {
				fail(err)
				return
			}
			for i, outcome := range c.All() {
				if ctx.Err() != nil {
					fail(context.Cause(ctx))
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
func (in *intake[A]) encode(lo, hi int) ([]byte, error) {
	in.stream.mu.Lock()
	some := in.held.Slice(lo-in.base, hi-in.base)
	in.stream.mu.Unlock()
	return some.Encode(in.stream.sendCtx) // the reader appends behind these, and nothing else
}

// drop forgets the arguments of the calls before that one.
func (in *intake[A]) drop(before int) {
	in.stream.mu.Lock()
	defer in.stream.mu.Unlock()
	in.held.Drop(before - in.base)
	in.base = before
}
