package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/progress"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func (a *app) imapCommand() *cobra.Command {
	var (
		input         string
		chunk, window int
		how           streaming
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
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.complete(1, taskWords),
		RunE: func(cmd *cobra.Command, words []string) error {
			if chunk < 0 {
				return usagef("--chunk-size is %d; use a positive number of calls, or 0 for automatic", chunk)
			}
			if window < 0 {
				return usagef("--window is %d; use a positive number of calls, or 0 for automatic", window)
			}
			in, name := a.In, "standard input"
			if input != "" && input != "-" {
				f, err := os.Open(input)
				if err != nil {
					return usage(err)
				}
				defer f.Close()
				in, name = f, input
			} else if progress.IsTerminal(in) {
				fmt.Fprintln(a.Err, "reading arguments from the terminal, one JSON value a line; end with Ctrl-D")
			}
			return a.stream(cmd.Context(), words[0], &lineReader{in: in, name: name}, how, producer.ChunkSize(chunk), producer.Window(window))
		},
	}
	cmd.Flags().StringVar(&input, "input", "", "file of JSON lines to take the arguments from; - is standard input")
	cmd.Flags().IntVar(&chunk, "chunk-size", 0, "calls that travel together; 0 is automatic")
	cmd.Flags().IntVar(&window, "window", 0, "calls that are read ahead of the output at the most; 0 is automatic")
	cmd.Flags().BoolVar(&how.unordered, "unordered", false, "print values in the order in which they become known")
	jsonFlag(cmd, &how.form.asJSON)
	how.codec.flag(cmd)
	return cmd
}

// lineReader reads arguments as they are wanted.
type lineReader struct {
	in   io.Reader
	name string
	bad  chan error // the error that ended the input, once
}

// all yields the values until the input ends or is wrong.
func (r *lineReader) all() iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		in := bufio.NewReader(r.in)
		for number := 1; ; number++ {
			line, err := in.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				r.bad <- noResult(fmt.Errorf("%s: line %d: %w", r.name, number, err))
				return
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				if err := checkJSON(line); err != nil {
					r.bad <- usagef("%s: line %d: %w", r.name, number, err)
					return
				}
				if !yield(line) {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
}

// streaming is how a stream is printed.
type streaming struct {
	unordered bool
	form      form
	codec     codecFlag
}

// stream runs one call for each argument, and prints outcomes as they come.
func (a *app) stream(ctx context.Context, name string, args *lineReader, how streaming, opts ...producer.Option) error {
	if _, err := declare(name); err != nil { // before Redis is asked
		return usage(err)
	}
	ctx, cancel := a.flags.limit(ctx)
	defer cancel()
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	task, err := how.codec.declare(s, name)
	if err != nil {
		return err
	}
	if err := s.sayUnserved(ctx); err != nil {
		return noResult(err)
	}
	args.bad = make(chan error, 1)
	calls := inOrder(producer.IMap(ctx, s.pool, task, args.all(), opts...))
	if how.unordered {
		calls = producer.IMapAsCompleted(ctx, s.pool, task, args.all(), opts...)
	}
	// An output that stands still must not keep the stream from ending with ctx.
	b := &app{Streams: Streams{Out: untilEnd{ctx, a.Out}, Err: untilEnd{ctx, a.Err}}}
	lines := b.outcomes(b.Out, how.form) // not buffered: a line is there once it is known
	for call, o := range calls {
		e, ok := errors.AsType[*results.TaskError](o.Err)
		if o.Err != nil && !ok {
			return streamEnded(ctx, o.Err)
		}
		if err := lines.print(call, o.Value, e); err != nil {
			if ctx.Err() != nil {
				return streamEnded(ctx, err)
			}
			return printed(err)
		}
	}
	select {
	case err := <-args.bad:
		return err
	default:
	}
	if lines.failed {
		return &exitError{ExitCallFailed, nil}
	}
	return nil
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
		return noResult(fmt.Errorf("%w; the calls that were on their way are canceled", stopped(ctx)))
	}
	return noResult(err)
}

// sayUnserved says so when no worker serves the queue.
func (s *session) sayUnserved(ctx context.Context) error {
	workers, err := inspect.New(s.rdb).Workers(ctx)
	if err != nil {
		return err
	}
	queue := s.app.flags.queue
	serves := func(w fleet.LiveWorker) bool { return w.Serves(queue) }
	if !slices.ContainsFunc(workers, serves) {
		fmt.Fprintf(s.app.Err, "distpool: no worker serves queue %q; the stream waits for one (an interrupt ends the waiting)\n", queue)
	}
	return nil
}
