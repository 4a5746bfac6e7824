package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Wait for a job that was submitted elsewhere, and print its values",
		Long: `Get waits for the job with this ID, whoever submitted it, and prints what apply,
map and starmap do. An interrupt ends the waiting only: the job goes on.`,
		Example: "  id=$(seq 10 | distpool map square --async)\n  distpool get $id --timeout 1m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			id := words[0]
			ctx, cancel := a.flags.limit(cmd.Context())
			defer cancel()
			s, err := a.open(ctx)
			if err != nil {
				return noResult(err)
			}
			job, err := record.Read(ctx, s.rdb, id)
			if err == nil && job.State == record.Gone {
				err = results.ErrUnknownJob
			}
			if err != nil {
				s.leave()
				return noResult(fmt.Errorf("job %s: %w", id, err))
			}
			task, err := declare(job.Task)
			if err != nil {
				s.leave()
				return noResult(fmt.Errorf("job %s: %w", id, err))
			}
			m, err := producer.AttachMap(ctx, s.pool, task, id)
			if err != nil {
				s.leave()
				return noResult(err)
			}
			return s.finish(ctx, m, waiting{label: job.Task, queue: job.Queue})
		},
	}
}
