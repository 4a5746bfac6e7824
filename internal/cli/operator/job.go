package operator

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/results"
)

const (
	// watchEvery is how often --watch looks. A look is one small read.
	watchEvery = 500 * time.Millisecond
	// shownFailures is how many failed calls are shown one by one.
	shownFailures = 20
)

// failedLine is a failed call as it is printed.
type failedLine struct {
	Call     int    `json:"call"`
	Kind     string `json:"kind"`
	Message  string `json:"message"`
	Type     string `json:"type,omitempty"`
	Attempts int    `json:"attempts"`
	Worker   string `json:"worker,omitempty"`
	Stack    string `json:"stack,omitempty"`
	Args     string `json:"args,omitempty"` // their beginning
	ArgsNote string `json:"args_note,omitempty"`
}

func newFailedLine(c inspect.FailedCall) failedLine {
	e := c.Error
	return failedLine{
		Call: c.Call, Kind: string(e.Kind), Message: e.Message, Type: e.Type, Attempts: e.Attempts,
		Worker: e.Worker, Stack: e.Stack, Args: c.Args.Text, ArgsNote: c.Args.Note,
	}
}

var failedColumns = []console.Column{
	{Head: "CALL", Right: true}, {Head: "KIND"}, {Head: "ATTEMPTS", Right: true, Drop: 1}, {Head: "WORKER", Drop: 2}, {Head: "ARGUMENTS"}, {Head: "MESSAGE"},
}

func (l failedLine) Cells(number func(int64) string) []string {
	args := console.Plain(l.Args, 40)
	if l.Args == "" && l.ArgsNote != "" {
		args = "(" + console.Plain(l.ArgsNote, 60) + ")"
	}
	return []string{number(int64(l.Call)), l.Kind, number(int64(l.Attempts)), console.Plain(l.Worker, 60), args, console.Plain(l.Message, 200)}
}

// jobDetail is a job with what goes on in it, as JSON.
type jobDetail struct {
	jobLine
	Workers     []string     `json:"workers,omitempty"` // that hold chunks
	FailedCalls []failedLine `json:"failed_calls,omitempty"`
	MoreFailed  bool         `json:"more_failed,omitempty"` // some are not in FailedCalls
}

func jobCommand(a *console.App) *cobra.Command {
	var watch, asJSON bool
	cmd := &cobra.Command{
		Use: "job ID", Short: "Show one job with its failed calls",
		Long: `Job shows one job, who runs it, and its first ` + strconv.Itoa(shownFailures) + ` failed calls. It waits for
nothing, unless --watch says so: that follows the job until it is over, and then
the exit code is that of get: 1 when calls failed, 3 when it was canceled. An
interrupt or the end of --timeout ends the watching only: the job goes on.
Arguments and errors of an encrypted job are shown as "(encrypted)" unless
--keyring has its keys.
` + console.JSONHelp + `
With --watch there is one for each change, and the last has the failed calls.`,
		Example: "  distpool job $id\n  distpool job $id --watch\n  distpool job $id --json | jq .done",
		Args:    console.OneID, ValidArgsFunction: a.Complete(1, console.JobWords(nil)),
		RunE: func(cmd *cobra.Command, words []string) error {
			ring, err := a.Keys()
			if err != nil {
				return err
			}
			return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				in.SetKeys(ring)
				d, err := in.Job(ctx, a.Address(words[0]), 1)
				if err != nil {
					return err
				}
				if !watch {
					return showJob(ctx, a, in, d, asJSON)
				}
				return watchJob(ctx, a, in, d, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the job until it is over")
	console.JSONFlag(cmd, &asJSON)
	return cmd
}

// showJob prints a job with its failed calls.
func showJob(ctx context.Context, a *console.App, in *inspect.Inspector, d inspect.Detail, asJSON bool) error {
	failed, err := in.FailedCalls(ctx, d.ID, inspect.FailedQuery{Limit: shownFailures})
	if err != nil {
		return err
	}
	l := jobDetail{jobLine: newJobLine(d.Job, d.Rate()), Workers: d.Workers}
	for _, c := range failed.Calls {
		l.FailedCalls = append(l.FailedCalls, newFailedLine(c))
	}
	l.MoreFailed = d.Failed > len(l.FailedCalls)
	if asJSON {
		return console.PrintJSON(a, l)
	}
	waits := whyItWaits(ctx, in, d.Job)
	err = console.PrintFacts(a, func(number func(int64) string) []console.Fact { return jobFacts(l.jobLine, d, waits, number) })
	if err != nil {
		return err
	}
	if len(l.FailedCalls) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	if err := console.Report(a, false, failedColumns, l.FailedCalls); err != nil {
		return err
	}
	if l.MoreFailed {
		fmt.Fprintf(a.Err, "distpool: these are %d of %d failed calls; distpool get %s prints all\n", len(l.FailedCalls), d.Failed, d.ID)
	}
	if d.Status.Over() {
		fmt.Fprintf(a.Err, "distpool: distpool retry-failed %s runs them again, as a new job\n", d.ID)
	}
	return nil
}

// watchJob follows a job until it is over.
func watchJob(ctx context.Context, a *console.App, in *inspect.Inspector, d inspect.Detail, asJSON bool) error {
	id, first, j := d.ID, d.Job, d.Job
	show, end := watcher(a, j, asJSON)
	defer end()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last inspect.Job
	for {
		if j.Status.Over() {
			break
		}
		if j.Status != last.Status || j.Done != last.Done || j.Running != last.Running || j.Calls != last.Calls {
			if err := show(newJobLine(j, j.RateSince(first))); err != nil {
				return err
			}
			last = j
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while job %s goes on: distpool job %s --watch follows it again", console.Stopped(ctx), id, id)
		case <-tick.C:
		}
		jobs, err := in.Look(ctx, []string{id})
		if ctx.Err() != nil {
			continue // the select says it
		}
		if err != nil {
			return fmt.Errorf("watching job %s: %w", id, err)
		}
		if j = jobs[0]; j.Task == "" {
			return fmt.Errorf("watching job %s: %w", id, inspect.ErrNoJob)
		}
	}
	end()
	d, err := in.Job(ctx, id, 1)
	if err != nil {
		return err
	}
	if err := showJob(ctx, a, in, d, asJSON); err != nil {
		return err
	}
	switch d.Status {
	case inspect.Succeeded:
		return nil
	case inspect.Failed:
		return console.CallFailed(nil)
	}
	return fmt.Errorf("job %s is %s: %s", id, d.Status, console.Plain(cmp.Or(d.Reason, "no reason is known"), 500))
}

// watcher returns what shows a job that is watched, and what ends that: a bar on a
// terminal, lines elsewhere. end may be called twice.
func watcher(a *console.App, j inspect.Job, asJSON bool) (show func(jobLine) error, end func()) {
	if asJSON {
		return func(l jobLine) error { return console.PrintJSON(a, l) }, func() {}
	}
	if bar := a.Bar(j.Task, j.Calls); bar != nil && !j.Status.Over() {
		return func(l jobLine) error {
			bar.Show(results.Progress{Calls: l.Calls, Done: l.Done, Failed: l.Failed, Running: l.Running, Rate: l.Rate, Left: l.left})
			return nil
		}, bar.End
	}
	return func(l jobLine) error {
		line := fmt.Sprintf("%s: %s, %d of %d calls are over, %d failed", console.Plain(l.Task, 40), l.Status, l.Done, l.Calls, l.Failed)
		if pace := l.pace(digits); pace != "" {
			line += ", " + pace
		}
		fmt.Fprintln(a.Err, line)
		return nil
	}, func() {}
}

// digits writes a count for programs, and for lines of messages.
func digits(n int64) string { return strconv.FormatInt(n, 10) }
