package operator

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
)

// canceledLine is what became of a job that was to be canceled.
type canceledLine struct {
	Job   string `json:"job"`
	State string `json:"state,omitempty"` // canceled or done
	Error string `json:"error,omitempty"`
}

var canceledColumns = []console.Column{{Head: "JOB"}, {Head: "STATE"}}

func (l canceledLine) Cells(func(int64) string) []string {
	if l.Error != "" {
		return []string{console.Plain(l.Job, console.AddressWidth), "error: " + console.Plain(l.Error, 200)}
	}
	return []string{l.Job, l.State}
}

func cancelCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Cancel jobs",
		Long: `Cancel ends jobs: calls that wait never run, those that run have their context
canceled, and the pools that wait for the job are told. Chunks that wait leave the
queue, and their arguments leave Redis. It prints
the state of each job after that: canceled, or done when it came too late. The
exit code is 3 when a job is unknown or Redis fails; the others are canceled all
the same.
` + console.JSONHelp,
		Example: "  distpool cancel $id\n" +
			"  distpool jobs --task word_count --status running --json | jq -r .job | xargs distpool cancel",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.Complete(-1, console.JobWords(isLive)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				return cancelJobs(ctx, a, in, ids, asJSON)
			})
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}

func cancelJobs(ctx context.Context, a *console.App, in *inspect.Inspector, ids []string, asJSON bool) error {
	rows := make([]canceledLine, 0, len(ids))
	bad := 0
	for _, id := range ids {
		id = a.Address(id)
		l := canceledLine{Job: id}
		state, err := in.CancelAndWithdraw(ctx, id)
		switch {
		case err != nil:
			l.Error = err.Error()
			bad++
		case state == job.Done:
			l.State = string(state)
		default: // for whatever reason it was canceled
			l.State = string(inspect.Canceled)
		}
		rows = append(rows, l)
	}
	if err := console.Report(a, asJSON, canceledColumns, rows); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d jobs could not be canceled; distpool jobs lists those that are there", bad, len(ids))
	}
	return nil
}

func isLive(s inspect.Status) bool { return !s.Over() }
