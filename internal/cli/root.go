// Package cli is the distpool program: the command and what it says of itself, and the
// commands that need no pool. The others are in packages of their own: calls, operator
// and doctor. Package console has what all commands share.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/distpool/distpool/internal/cli/calls"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/cli/doctor"
	"github.com/distpool/distpool/internal/cli/operator"
	"github.com/distpool/distpool/internal/ending"
)

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

// Main is the program: it runs on the process's arguments and standard streams, and
// returns its exit code. A closed terminal, SIGQUIT and SIGTERM end it as an
// interrupt does.
func Main() int {
	ctx := ending.Context(syscall.SIGQUIT)
	return Run(ctx, os.Args[1:], console.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

// Run runs the program with the given arguments, and returns its exit code.
func Run(ctx context.Context, args []string, streams console.Streams) int {
	a := console.New(streams)
	root := rootCommand(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil { // cobra does not say how a command is used
		if text := err.Error(); strings.HasPrefix(text, "accepts ") || strings.HasPrefix(text, "requires ") {
			err = fmt.Errorf(`%w; it is: %s ("%s --help" says more)`, err, cmd.UseLine(), cmd.CommandPath())
		}
	}
	return a.End(err)
}

func rootCommand(a *console.App) *cobra.Command {
	root := &cobra.Command{
		Use: "distpool", Short: "Run tasks on a pool of worker processes", Long: about,
		SilenceErrors: true, SilenceUsage: true,
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
			return console.Usagef("--%s is %q; use %s", bad.GetFlag().Name, bad.GetValue(), valueWords(bad.GetFlag().Value.Type()))
		}
		return console.Usagef(`%w; "%s --help" lists the flags; an argument that starts with a dash goes after "--"`, err, cmd.CommandPath())
	})
	a.AddFlags(root)
	root.AddCommand(calls.Commands(a)...)
	root.AddCommand(operator.Commands(a)...)
	root.AddCommand(doctor.Command(a), monitorCommand(a), probeCommand(a), demoCommand(a), demoWorkerCommand(a), versionCommand(a))
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

// describeCompletion adds cobra's command that prints completion scripts.
func describeCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "Print what makes a shell complete commands, tasks, queues and job IDs"
			c.Long = `Completion prints a script for bash, zsh, fish or PowerShell, after which the tab key
completes commands, flags, and what is in Redis: tasks that live workers know,
queues, and recent jobs. That Redis is the one of --redis, where it is on the line
already, or of REDIS_URL; one that does not answer within a second completes nothing.
"distpool completion SHELL --help" says how to install it; bash needs its package
bash-completion. There is no --json.`
			c.Example = "  source <(distpool completion bash)\n  distpool completion fish > ~/.config/fish/completions/distpool.fish"
		}
	}
}
