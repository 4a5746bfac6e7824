package cli

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
)

// canceledLine is what became of a job that was to be canceled.
type canceledLine struct {
	Job   string `json:"job"`
	State string `json:"state,omitempty"` // canceled or done
	Error string `json:"error,omitempty"`
}

var canceledColumns = []column{{head: "JOB"}, {head: "STATE"}}

func (l canceledLine) cells(func(int64) string) []string {
	if l.Error != "" {
		return []string{plain(l.Job, addressWidth), "error: " + plain(l.Error, 200)}
	}
	return []string{l.Job, l.State}
}

func (a *app) cancelCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Cancel jobs",
		Long: `Cancel ends jobs: calls that wait never run, those that run have their context
canceled, and the pools that wait for the job are told. Chunks that wait leave the
queue, and their arguments leave Redis. It prints
the state of each job after that: canceled, or done when it came too late. The
exit code is 3 when a job is unknown or Redis fails; the others are canceled all
the same.
` + jsonHelp,
		Example: "  distpool cancel $id\n" +
			"  distpool jobs --task word_count --status running --json | jq -r .job | xargs distpool cancel",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.complete(-1, jobWords(isLive)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return a.look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				return a.cancelJobs(ctx, in, ids, asJSON)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) cancelJobs(ctx context.Context, in *inspect.Inspector, ids []string, asJSON bool) error {
	rows := make([]canceledLine, 0, len(ids))
	bad := 0
	for _, id := range ids {
		id = a.address(id)
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
	if err := report(a, asJSON, canceledColumns, rows); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d jobs could not be canceled; distpool jobs lists those that are there", bad, len(ids))
	}
	return nil
}
