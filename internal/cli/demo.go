package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/cli/demo"
	"github.com/distpool/distpool/internal/redisconn"
)

// demoWorker names the hidden command that the demo starts its workers with.
const demoWorker = "demo-worker"

func demoCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Show the pool at work, on this machine; needs no Redis",
		Long: `Demo starts an embedded Redis and two worker processes, runs a few jobs, and
counts the words of every .go file of the Go installation, on the workers and
once more here, to compare. It takes less than a minute and leaves nothing
behind. With --redis or REDIS_URL it uses that Redis, and a queue of its own;
what it leaves there is the names of its jobs in the list of recent jobs. It
uses no keyring. The exit code is 1 when the counts differ.

With --json the story goes to standard error, and one JSON object is printed
that says how it ended.`,
		Example: "  distpool demo\n  REDIS_URL=redis://localhost:6379 distpool demo\n  distpool demo --json 2>/dev/null | jq .ok",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), a, asJSON)
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}

func runDemo(ctx context.Context, a *console.App, asJSON bool) error {
	self, err := os.Executable()
	if err != nil {
		return console.NoResult(fmt.Errorf("finding this program's file, to start workers from: %w", err))
	}
	url := a.Redis
	if url == "" {
		url = os.Getenv(redisconn.EnvURL)
	}
	story := a.Out
	if asJSON {
		story = io.Writer(a.Err)
	}
	ctx, cancel := a.Limit(ctx)
	defer cancel()
	r, err := demo.Run(ctx, demo.Options{Redis: url, Worker: []string{self, demoWorker}, Out: story, Err: a.Err})
	if asJSON {
		if perr := json.NewEncoder(a.Out).Encode(r); perr != nil && err == nil {
			err = perr
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, demo.ErrMismatch):
		return console.CallFailed(err)
	}
	return console.NoResult(err)
}

func demoWorkerCommand(a *console.App) *cobra.Command {
	return &cobra.Command{
		Use: demoWorker + " QUEUE", Short: "Be a worker of the demo", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := demo.Worker(args[0], a.In, a.Err); err != nil {
				return console.NoResult(err)
			}
			return nil
		},
	}
}
