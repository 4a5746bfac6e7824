package calls

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/producer"
)

func retryFailedCommand(a *console.App) *cobra.Command {
	var how submission
	var onto string
	cmd := &cobra.Command{
		Use: "retry-failed ID", Short: "Run the failed calls of a job again, as a new job",
		Long: `Retry-failed submits a new job of the calls that failed in the job with this ID, with
the arguments that they had, on its queue (unless --new-queue names another) and with
its retries and time limits. The old job stays as it is.

Each call prints one line: its index in the old job, a tab, and what map prints.
The ID of the new job goes to standard error. The exit code is 1 when calls failed
again or could not be retried, and 0 when no call of the old job had failed.

What cannot be retried:
  - calls whose arguments are gone: Redis keeps those of failed calls as long as
    the job, up to 64 MiB of them for each job. The others are retried all the same;
  - a job that is not over (wait for it, or cancel it), and of a canceled job the
    calls that had not ended: their arguments are gone;
  - streams (imap, IMap): nothing of them stays in Redis. Their failed calls were
    lines of the output;
  - a job whose codec is not JSON, and one that is signed or encrypted with keys
    that are not on the keyring.

When the time of --timeout is over, the new job goes on; an interrupt cancels it.
With --async its ID is all that is printed, and nothing is waited for. distpool get
prints its values then, in the order of the old job.

With --json each line is an object with the members job and call (of the new job),
of (the index in the old one), and value or error.`,
		Example: "  distpool retry-failed $id\n" +
			"  distpool get $(distpool retry-failed $id --async)\n" +
			"  distpool jobs --status failed --json | jq -r .job | xargs -n1 distpool retry-failed --json",
		Args: console.OneID, ValidArgsFunction: a.Complete(1, console.JobWords(mayHaveFailed)),
		RunE: func(cmd *cobra.Command, words []string) error {
			if onto != "" {
				if err := names.CheckQueue(onto); err != nil {
					return console.Usagef("--new-queue: %w", err)
				}
			}
			ring, err := a.Keys()
			if err != nil {
				return err
			}
			return withPool(cmd.Context(), a, ring, func(ctx context.Context, s *session) error {
				return s.retryFailed(ctx, a.Address(words[0]), onto, how)
			})
		},
	}
	how.asyncFlags(cmd)
	cmd.Flags().StringVar(&onto, "new-queue", "", "queue of the new job (default that of the old one)")
	a.CompleteFlag(cmd, "new-queue", console.QueueWords)
	return cmd
}

// retryFailed retries on the queue; an empty one is the job's own.
func (s *session) retryFailed(ctx context.Context, id, queue string, how submission) error {
	old, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	queue = cmp.Or(queue, old.queue)
	opts := []producer.Option{producer.Queue(queue)}
	if how.async {
		opts = append(opts, producer.ResultTTL(producer.DefaultResultTTL))
	}
	r, err := producer.RetryFailed(ctx, s.pool, old.task, id, opts...)
	if errors.Is(err, producer.ErrNoneFailed) {
		fmt.Fprintf(s.Err, "distpool: no call of job %s failed; nothing to retry\n", id)
		if left := old.Calls - old.Done; old.State == job.Canceled && left > 0 {
			fmt.Fprintf(s.Err, "distpool: %s of it had not ended when it was canceled, and cannot be run again: their arguments are gone\n", console.Count(left, "call"))
		}
		return nil
	}
	if err != nil {
		return err
	}
	gone := sayRetried(s.App, r)
	if how.async {
		err = printID(s.App, r.ID(), how.asJSON)
	} else {
		err = s.finish(ctx, r.MapResult, waiting{label: old.label, queue: queue, ours: true, named: true, form: form{asJSON: how.asJSON, of: r.Calls}})
	}
	if err != nil {
		return err
	}
	return gone
}

// sayRetried says on standard error which job it is, and what was left out. The
// error is the exit code when something was.
func sayRetried(a *console.App, r *producer.Retried[json.RawMessage]) error {
	fmt.Fprintf(a.Err, "distpool: job %s runs %s of job %s again\n", r.ID(), console.Count(len(r.Calls), "failed call"), r.Of)
	if len(r.Gone) == 0 {
		return nil
	}
	const most = 20
	var calls strings.Builder
	for i, call := range r.Gone[:min(len(r.Gone), most)] {
		if i > 0 {
			calls.WriteString(", ")
		}
		calls.WriteString(strconv.Itoa(call))
	}
	if len(r.Gone) > most {
		calls.WriteString(", ...")
	}
	fmt.Fprintf(a.Err, "distpool: %s cannot be retried, since their arguments were not kept: %s\n", console.Count(len(r.Gone), "failed call"), &calls)
	return console.CallFailed(nil)
}

// mayHaveFailed says whether jobs with this status may have calls that failed.
func mayHaveFailed(s inspect.Status) bool { return s == inspect.Failed || s == inspect.Canceled }
