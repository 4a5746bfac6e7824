package producer

import (
	"context"
	"iter"
	"runtime"

	"github.com/distpool/distpool/internal/stream"
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
	return func(yield func(R, error) bool) { imap(ctx, p, t, args, opts, true, withoutIndex(yield)) }
}

// IMapUnordered is IMap with the values in the order in which they become known:
// one slow call does not hold up the others.
func IMapUnordered[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args iter.Seq[A], opts ...Option) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) { imap(ctx, p, t, args, opts, false, withoutIndex(yield)) }
}

// IMapAsCompleted is IMapUnordered with the index of each call in args, counted
// from 0, so that values find their arguments. The error that ends a stream early
// comes with the index -1.
func IMapAsCompleted[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args iter.Seq[A], opts ...Option) iter.Seq2[int, results.Outcome[R]] {
	return func(yield func(int, results.Outcome[R]) bool) { imap(ctx, p, t, args, opts, false, yield) }
}

func withoutIndex[R any](yield func(R, error) bool) func(int, results.Outcome[R]) bool {
	return func(_ int, o results.Outcome[R]) bool { return yield(o.Value, o.Err) }
}

func imap[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args iter.Seq[A], opts []Option, ordered bool, yield func(int, results.Outcome[R]) bool) {
	defer runtime.KeepAlive(p)
	o, _, err := p.options(opts, true)
	if err != nil {
		yield(-1, results.Outcome[R]{Err: err})
		return
	}
	stream.Run(ctx, p.pool, t, args, o, ordered, yield)
}
