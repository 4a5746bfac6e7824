package calls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func imapCommand(a *console.App) *cobra.Command {
	var (
		input  inputFlags
		window int
		how    streaming
	)
	cmd := &cobra.Command{
		Use: "imap TASK", Short: "Run a task on each line of a stream, and print values as they come",
		Long: `Imap runs the task once for each JSON value that it reads, one a line, from the
file of --input or from standard input. Blank lines are skipped. Each value is
printed as soon as it and all before it are there, while the input goes on: it may
be endless, and is read only as far ahead of the output as --window allows.

A call prints one line, in the order of the input: its value as JSON or, if it
failed, {"error": {...}} as with map. Messages go to standard error. A line that is
no JSON value ends the input: what came before is printed, and the exit code is 2.

With --unordered, calls print in the order in which they become known: a slow one
does not hold up the others. With --json each line is an object with the members
call (counted from 0; blank lines do not count), and value or error, so that it is
known which call it is of.

When the time of --timeout is over, or with an interrupt, the calls that are on
their way are canceled. Nothing of a stream stays in Redis.`,
		Example: "  seq 1000000 | distpool imap square | head\n" +
			"  tail -f paths.jsonl | distpool imap word_count --window 100\n" +
			"  distpool imap word_count --unordered --json < paths.jsonl | jq -c 'select(.error)'",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.Complete(1, console.TaskWords),
		RunE: func(cmd *cobra.Command, words []string) error {
			if err := input.check(); err != nil {
				return err
			}
			if window < 0 {
				return console.Usagef("--window is %d; use a positive number of calls, or 0 for automatic", window)
			}
			in, name, err := input.open(a)
			if err != nil {
				return console.Usage(err)
			}
			defer in.Close()
			return stream(cmd.Context(), a, words[0], lines(in, name), how, producer.ChunkSize(input.chunk), producer.Window(window))
		},
	}
	input.add(cmd)
	cmd.Flags().IntVar(&window, "window", 0, "calls that are read ahead of the output at the most; 0 is automatic")
	cmd.Flags().BoolVar(&how.unordered, "unordered", false, "print values in the order in which they become known")
	console.JSONFlag(cmd, &how.form.asJSON)
	how.codec.flag(cmd)
	return cmd
}

// streaming is how a stream is printed.
type streaming struct {
	unordered bool
	form      form
	codec     codecFlag
}

// stream runs one call for each argument, and prints outcomes as they come.
func stream(ctx context.Context, a *console.App, name string, input iter.Seq2[json.RawMessage, error], how streaming, opts ...producer.Option) error {
	task, ring, err := how.codec.declare(a, name)
	if err != nil {
		return err
	}
	return withPool(ctx, a, ring, func(ctx context.Context, s *session) error {
		if err := s.sayUnserved(ctx); err != nil {
			return err
		}
		bad := make(chan error, 1) // the error that ended the input
		args := func(yield func(json.RawMessage) bool) {
			for arg, err := range input {
				if err != nil {
					bad <- console.Usage(err)
				} else if yield(arg) {
					continue
				}
				return
			}
		}
		calls := inOrder(producer.IMap(ctx, s.pool, task, args, opts...))
		if how.unordered {
			calls = producer.IMapAsCompleted(ctx, s.pool, task, args, opts...)
		}
		failed, err := printStream(ctx, a, calls, how.form)
		if err != nil {
			return err
		}
		select {
		case err := <-bad:
			return err
		default:
		}
		if failed {
			return console.CallFailed(nil)
		}
		return nil
	})
}

// printStream prints outcomes as they come, and reports whether some call failed.
func printStream(ctx context.Context, a *console.App, calls iter.Seq2[int, results.Outcome[json.RawMessage]], f form) (failed bool, err error) {
	a = a.Until(ctx)                // an output that stands still must not keep the stream from ending
	out := newOutcomes(a, a.Out, f) // not buffered: a line is there once it is known
	for call, o := range calls {
		e, ok := errors.AsType[*results.TaskError](o.Err)
		if o.Err != nil && !ok {
			return false, streamEnded(ctx, o.Err)
		}
		if err := out.print(call, o.Value, e); err != nil {
			return false, streamEnded(ctx, console.Printed(err))
		}
	}
	return out.failed, nil
}

// inOrder counts the calls of a stream that is in the order of its input.
func inOrder(calls iter.Seq2[json.RawMessage, error]) iter.Seq2[int, results.Outcome[json.RawMessage]] {
	return func(yield func(int, results.Outcome[json.RawMessage]) bool) {
		call := 0
		for value, err := range calls {
			if !yield(call, results.Outcome[json.RawMessage]{Value: value, Err: err}) {
				return
			}
			call++
		}
	}
}

// streamEnded is the error of a stream that ended before its input.
func streamEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w; the calls that were on their way are canceled", console.Stopped(ctx))
	}
	return err
}

// sayUnserved says so when no worker serves the queue.
func (s *session) sayUnserved(ctx context.Context) error {
	workers, err := s.in.Workers(ctx)
	if err != nil {
		return err
	}
	serves := func(w fleet.LiveWorker) bool { return w.Serves(s.Queue) }
	if !slices.ContainsFunc(workers, serves) {
		fmt.Fprintf(s.Err, "distpool: no worker serves queue %q; the stream waits for one (an interrupt ends the waiting)\n", s.Queue)
	}
	return nil
}
