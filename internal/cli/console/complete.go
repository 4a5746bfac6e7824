package console

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
)

// completeLimit is how long a press of the tab key may take.
const completeLimit = time.Second

// completeJobs is how many recent jobs are offered.
const completeJobs = 50

// Completer finds what a word on the command line may be. Names come from Redis,
// where any program may have written them, and go into a shell: those that distpool
// would refuse are left out.
type Completer func(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error)

// Complete makes a completion of the first n arguments, or of all if n is negative.
// A Redis that does not answer in time completes nothing.
func (a *App) Complete(n int, find Completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if n >= 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
		defer cancel()
		rdb, err := redisconn.Open(ctx, a.Redis)
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

// CompleteFlag completes the value of a flag.
func (a *App) CompleteFlag(cmd *cobra.Command, flag string, find Completer) {
	f := a.Complete(-1, find)
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("distpool: " + err.Error()) // there is no such flag
	}
}

// TaskWords are the tasks that live workers know.
func TaskWords(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error) {
	workers, err := in.Workers(ctx)
	if err != nil {
		return nil, err
	}
	var words []cobra.Completion
	for _, w := range workers {
		for _, name := range w.Tasks {
			if _, err := DeclareTask(name); err == nil && !slices.Contains(words, name) {
				words = append(words, name)
			}
		}
	}
	slices.Sort(words)
	return words, nil
}

// QueueWords are the queues that there are.
func QueueWords(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error) {
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

// JobWords are the recent jobs with an interesting status, newest first; nil is any.
func JobWords(interesting func(inspect.Status) bool) Completer {
	return func(ctx context.Context, in *inspect.Inspector) ([]cobra.Completion, error) {
		page, err := in.Jobs(ctx, inspect.Query{Limit: completeJobs})
		if err != nil {
			return nil, err
		}
		var words []cobra.Completion
		for _, j := range page.Jobs {
			if _, err := names.ParseAddress(j.ID, ""); err == nil && (interesting == nil || interesting(j.Status)) {
				words = append(words, cobra.CompletionWithDesc(j.ID, Plain(j.Task, 40)+", "+string(j.Status)+", "+Brief(j.Age())+" ago"))
			}
		}
		return words, nil
	}
}
