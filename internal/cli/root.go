// Package cli is the distpool program: root.go has the command and its exit
// codes, submit.go apply, map and starmap, get.go the jobs of others, report.go
// how jobs, workers and queues are printed, and wait.go what those share that wait.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
)

// Streams are the program's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// The exit codes. They are part of the program's contract: see the help text.
const (
	ExitOK         = 0 // every call returned a value
	ExitCallFailed = 1 // some call failed, or the demo's check did
	ExitUsage      = 2 // the command line or the input is wrong
	ExitNoResult   = 3 // the outcomes are not known: no Redis, timeout, canceled
)

// exitError is an error that has an exit code.
type exitError struct {
	code int
	err  error // nil: everything has been said
}

// Error is the message of the error inside.
func (e *exitError) Error() string { return fmt.Sprint(e.err) }

// Unwrap returns the error inside.
func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error { return &exitError{ExitUsage, err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// noResult is for errors about Redis, or about waiting.
func noResult(err error) error {
	if errors.Is(err, redisconn.ErrBadURL) {
		return usage(err)
	}
	return &exitError{ExitNoResult, err}
}

// flags are the flags of all commands.
type flags struct {
	redis   string
	queue   string
	timeout time.Duration
	keyring string // see package keyfile
}

// app is one run of the program.
type app struct {
	Streams
	flags flags
}

const about = `distpool runs tasks on worker processes, through Redis.

The exit code tells what happened:
  0  every call returned a value
  1  some call failed
  2  the command line or the input is wrong
  3  there is no result: Redis cannot be used, the time is over, the job was
     canceled or is unknown

An interrupt, SIGTERM, SIGQUIT and a closed terminal end a command, and what it
says of an interrupt holds for all of them. It ends when nothing reads its output
any more, too, with exit code 3 and without a message.

Characters by which a text could steer a terminal are written as \u001b in
messages and in what goes to a terminal; JSON means the same that way.

A job's ID is QUEUE/NAME. A bare NAME is a job of the queue of --queue.

An argument that starts with a dash, such as a negative number, goes after "--".

With --json every command prints JSON objects, one a line, but help and
completion, whose text is for people and for shells.

Tables fit the terminal: where it is narrow they wrap their last column, then
leave columns out and say which. Elsewhere they have all columns, and numbers
without spaces in them.`

// Run runs the program with the given arguments, and returns its exit code.
func Run(ctx context.Context, args []string, streams Streams) int {
	out := newOutput(streams.Out, false)
	a := &app{Streams: Streams{In: streams.In, Out: out, Err: newOutput(streams.Err, true)}}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	e, ok := errors.AsType[*exitError](err)
	if lost := out.failed(); lost != nil && !ok {
		// Not every print is checked where it is made, nor are the prints of cobra.
		e, ok = errors.AsType[*exitError](printed(lost))
	}
	switch {
	case ok:
	case err == nil:
		return ExitOK
	default:
		e = &exitError{ExitUsage, err} // cobra's own
		if text := err.Error(); strings.HasPrefix(text, "accepts ") || strings.HasPrefix(text, "requires ") {
			e.err = fmt.Errorf(`%w; it is: %s ("%s --help" says more)`, err, cmd.UseLine(), cmd.CommandPath())
		}
	}
	if e.err != nil {
		fmt.Fprintf(a.Err, "distpool: %v\n", e.err)
	}
	return e.code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "distpool", Short: "Run tasks on a pool of worker processes", Long: about,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.flags.check() },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) { // cobra says of each part that it cannot be written
		var text bytes.Buffer
		cmd.SetOut(&text)
		help(cmd, args)
		cmd.SetOut(a.Out)
		_, _ = text.WriteTo(a.Out)
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			return usagef("--%s is %q; use %s", bad.GetFlag().Name, bad.GetValue(), valueWords(bad.GetFlag().Value.Type()))
		}
		return usagef(`%w; "%s --help" lists the flags; an argument that starts with a dash goes after "--"`, err, cmd.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&a.flags.redis, "redis", "", "URL of the Redis to use (default $REDIS_URL, or redis://127.0.0.1:6379)")
	f.StringVar(&a.flags.keyring, "keyring", "", "file of keys: sign jobs, believe only outcomes that are signed, show what is encrypted (default $"+keyfile.Env+")")
	f.StringVar(&a.flags.queue, "queue", names.DefaultQueue, "queue to send the job to, and of a job that is named without its queue")
	f.DurationVar(&a.flags.timeout, "timeout", 0, "how long to wait, such as 30s; 0 waits for ever")
	root.AddCommand(a.applyCommand(), a.mapCommand(), a.starmapCommand(), a.imapCommand(), a.getCommand(), a.retryFailedCommand(),
		a.jobsCommand(), a.jobCommand(), a.cancelCommand(), a.workersCommand(), a.queuesCommand(), a.doctorCommand(),
		a.monitorCommand(), a.probeCommand(), a.demoCommand(), a.demoWorkerCommand(), a.versionCommand())
	a.completeFlag(root, "queue", queueWords)
	describeCompletion(root)
	return root
}

// valueWords is what a flag of this type takes.
func valueWords(kind string) string {
	switch kind {
	case "int":
		return "a whole number"
	case "duration":
		return "a duration such as 30s or 5m"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

func (f flags) check() error {
	if err := names.CheckQueue(f.queue); err != nil {
		return usagef("--queue: %w", err)
	}
	if f.timeout < 0 {
		return usagef("--timeout is %v; use a positive duration, or 0 to wait for ever", f.timeout)
	}
	return nil
}

// limit returns a context that ends when the time to wait is over.
func (f flags) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, f.timeout)
}
