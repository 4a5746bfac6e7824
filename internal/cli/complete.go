package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
)

// completeLimit is how long somebody who has pressed the tab key waits at the most.
const completeLimit = time.Second

// completeJobs is how many recent jobs are offered.
const completeJobs = 50

// completer finds what a word on the command line may be. Names come from Redis,
// where anybody may have written them, and go into a shell: those that distpool
// would refuse are left out.
type completer func(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error)

// complete makes a completion of the first n arguments, or of all if n is negative.
// A Redis that does not answer in time completes nothing.
func (a *app) complete(n int, find completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if n >= 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
		defer cancel()
		rdb, err := redisconn.Open(ctx, a.flags.redis)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer func() { _ = rdb.Close() }()
		found, err := find(ctx, inspect.New(rdb))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeFlag completes the value of a flag.
func (a *app) completeFlag(cmd *cobra.Command, flag string, find completer) {
	f := a.complete(-1, find)
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("distpool: " + err.Error()) // there is no such flag
	}
}

// taskWords are the tasks that live workers know.
func taskWords(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error) {
	workers, err := in.Workers(ctx)
	if err != nil {
		return nil, err
	}
	var words []cobra.Completion
	for _, w := range workers {
		for _, name := range w.Tasks {
			if _, err := declare(name); err == nil && !slices.Contains(words, name) {
				words = append(words, name)
			}
		}
	}
	slices.Sort(words)
	return words, nil
}

// queueWords are the queues that there are.
func queueWords(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error) {
	queues, err := in.Queues(ctx)
	if err != nil {
		return nil, err
	}
	var words []cobra.Completion
	for _, q := range queues {
		if names.CheckQueue(q.Name) == nil {
			words = append(words, q.Name)
		}
	}
	return words, nil
}

// jobWords are the recent jobs that are of interest, newest first.
func jobWords(interesting func(inspect.Status) bool) completer {
	return func(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error) {
		page, err := in.Jobs(ctx, inspect.Query{Limit: completeJobs})
		if err != nil {
			return nil, err
		}
		var words []cobra.Completion
		for _, j := range page.Jobs {
			if _, err := names.ParseAddress(j.ID, ""); err == nil && interesting(j.Status) {
				words = append(words, cobra.CompletionWithDesc(j.ID, plain(j.Task, 40)+", "+string(j.Status)+", "+brief(j.Age())+" ago"))
			}
		}
		return words, nil
	}
}

func anyStatus(inspect.Status) bool         { return true }
func isLive(s inspect.Status) bool          { return !s.Over() }
func hasFailedStatus(s inspect.Status) bool { return s == inspect.Failed || s == inspect.Canceled }
func statusCompletions() (c []cobra.Completion) {
	for _, s := range inspect.Statuses {
		c = append(c, string(s))
	}
	return c
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
