package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/producer"
)

func (a *app) getCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "get ID", Short: "Wait for a job that was submitted elsewhere, and print its values",
		Long: `Get waits for the job with this ID, whoever submitted it, and prints what apply,
map and starmap do. An interrupt ends the waiting only: the job goes on.
` + callsJSONHelp,
		Example: "  id=$(seq 10 | distpool map square --async)\n  distpool get $id --timeout 1m",
		Args:    oneID, ValidArgsFunction: a.complete(1, jobWords(anyStatus)),
		RunE: func(cmd *cobra.Command, words []string) error {
			id := a.address(words[0])
			ctx, cancel := a.flags.limit(cmd.Context())
			defer cancel()
			s, err := a.open(ctx)
			if err != nil {
				return err
			}
			found, err := s.find(ctx, id)
			if err != nil {
				s.leave()
				return noResult(err)
			}
			m, err := producer.AttachMap(ctx, s.pool, found.task, id)
			if err != nil {
				s.leave()
				return noResult(err)
			}
			return s.finish(ctx, m, waiting{label: found.label, queue: found.queue, form: form{asJSON: asJSON}})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// oneID wants the ID of a job, and nothing else.
func oneID(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return err
	}
	if _, err := names.ParseAddress(args[0], names.DefaultQueue); err != nil {
		return fmt.Errorf("%s: %w", cmd.Name(), err)
	}
	return nil
}

// addressWidth is the length of the longest ID.
const addressWidth = 201

// address completes a job's ID that a person typed: a bare name is of the queue of --queue.
func (a *app) address(word string) string {
	full, err := names.ParseAddress(word, a.flags.queue)
	if err != nil {
		return word // no job has this ID: the command that looks for it says so
	}
	return full.String()
}
