package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/progress"
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

var failedColumns = []column{
	{head: "CALL", right: true}, {head: "KIND"}, {head: "ATTEMPTS", right: true, drop: 1}, {head: "WORKER", drop: 2}, {head: "ARGUMENTS"}, {head: "MESSAGE"},
}

func (l failedLine) cells(number func(int64) string) []string {
	args := plain(l.Args, 40)
	if l.Args == "" && l.ArgsNote != "" {
		args = "(" + plain(l.ArgsNote, 60) + ")"
	}
	return []string{number(int64(l.Call)), l.Kind, number(int64(l.Attempts)), plain(l.Worker, 60), args, plain(l.Message, 200)}
}

// jobDetail is a job with what goes on in it, as JSON.
type jobDetail struct {
	jobLine
	Workers     []string     `json:"workers,omitempty"` // who holds chunks
	FailedCalls []failedLine `json:"failed_calls,omitempty"`
	MoreFailed  bool         `json:"more_failed,omitempty"` // some are not in FailedCalls
}

func (a *app) jobCommand() *cobra.Command {
	var watch, asJSON bool
	cmd := &cobra.Command{
		Use: "job ID", Short: "Show one job with its failed calls",
		Long: `Job shows one job, who runs it, and its first ` + strconv.Itoa(shownFailures) + ` failed calls. It waits for
nothing, unless --watch says so: that follows the job until it is over, and then
the exit code is that of get: 1 when calls failed, 3 when it was canceled. An
interrupt or the end of --timeout ends the watching only: the job goes on.
Arguments and errors of an encrypted job are shown as "(encrypted)" unless
--keyring has its keys.
` + jsonHelp + `
With --watch there is one for each change, and the last has the failed calls.`,
		Example: "  distpool job $id\n  distpool job $id --watch\n  distpool job $id --json | jq .done",
		Args:    oneID, ValidArgsFunction: a.complete(1, jobWords(anyStatus)),
		RunE: func(cmd *cobra.Command, words []string) error {
			ring, err := a.keys()
			if err != nil {
				return err
			}
			return a.look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				in.SetKeys(ring)
				d, err := in.Job(ctx, a.address(words[0]), 1)
				if err != nil {
					return err
				}
				if !watch {
					return a.showJob(ctx, in, d, asJSON)
				}
				return a.watchJob(ctx, in, d, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the job until it is over")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// showJob prints a job with its failed calls.
func (a *app) showJob(ctx context.Context, in *inspect.Inspector, d inspect.Detail, asJSON bool) error {
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
		return printJSON(a, l)
	}
	s := screenOf(a.Out)
	if err := writeFacts(a.Out, s, jobFacts(l.jobLine, d, whyItWaits(ctx, in, d.Job), s.number)); err != nil {
		return printed(err)
	}
	if len(l.FailedCalls) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	if err := report(a, false, failedColumns, l.FailedCalls); err != nil {
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
func (a *app) watchJob(ctx context.Context, in *inspect.Inspector, d inspect.Detail, asJSON bool) error {
	id, first, j := d.ID, d.Job, d.Job
	show, end := a.watcher(j, asJSON)
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
			return fmt.Errorf("%w while job %s goes on: distpool job %s --watch follows it again", stopped(ctx), id, id)
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
	if err := a.showJob(ctx, in, d, asJSON); err != nil {
		return err
	}
	switch d.Status {
	case inspect.Succeeded:
		return nil
	case inspect.Failed:
		return &exitError{ExitCallFailed, nil}
	}
	return noResult(fmt.Errorf("job %s is %s: %s", id, d.Status, plain(cmp.Or(d.Reason, "no reason is known"), 500)))
}

func stopped(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("the time of --timeout is over")
	}
	return errors.New("interrupted")
}

// watcher returns what shows a job that is watched, and what ends that: a bar on a
// terminal, lines elsewhere. end may be called twice.
func (a *app) watcher(j inspect.Job, asJSON bool) (show func(jobLine) error, end func()) {
	switch {
	case asJSON:
		return func(l jobLine) error { return printJSON(a, l) }, func() {}
	case j.Calls > 1 && !j.Status.Over() && progress.IsTerminal(beneath(a.Err)):
		meter := progress.Bar(beneath(a.Err), j.Task, j.Calls)
		return func(l jobLine) error {
			meter.Show(results.Progress{Calls: l.Calls, Done: l.Done, Failed: l.Failed, Running: l.Running, Rate: l.Rate, Left: l.left})
			return nil
		}, meter.End
	}
	return func(l jobLine) error {
		line := fmt.Sprintf("%s: %s, %d of %d calls are over, %d failed", plain(l.Task, 40), l.Status, l.Done, l.Calls, l.Failed)
		if pace := l.pace(screen{}.number); pace != "" {
			line += ", " + pace
		}
		fmt.Fprintln(a.Err, line)
		return nil
	}, func() {}
}
