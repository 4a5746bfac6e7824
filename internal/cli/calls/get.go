package calls

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/producer"
)

func getCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "get ID", Short: "Wait for a job that was submitted elsewhere, and print its values",
		Long: `Get waits for the job with this ID, whoever submitted it, and prints what apply,
map and starmap do. An interrupt ends the waiting only: the job goes on.
` + callsJSONHelp,
		Example: "  id=$(seq 10 | distpool map square --async)\n  distpool get $id --timeout 1m",
		Args:    console.OneID, ValidArgsFunction: a.Complete(1, console.JobWords(nil)),
		RunE: func(cmd *cobra.Command, words []string) error {
			id := a.Address(words[0])
			ring, err := a.Keys()
			if err != nil {
				return err
			}
			return withPool(cmd.Context(), a, ring, func(ctx context.Context, s *session) error {
				found, err := s.find(ctx, id)
				if err != nil {
					return err
				}
				m, err := producer.AttachMap(ctx, s.pool, found.task, id)
				if err != nil {
					return err
				}
				return s.finish(ctx, m, waiting{label: found.label, queue: found.queue, form: form{asJSON: asJSON}})
			})
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}
