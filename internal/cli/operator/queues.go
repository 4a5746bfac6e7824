package operator

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/names"
)

// queueLine is a queue as it is printed. The numbers are of deliveries.
type queueLine struct {
	Queue     string  `json:"queue"`
	Paused    bool    `json:"paused"`
	Pending   int     `json:"pending"`
	Active    int     `json:"active"`
	Scheduled int     `json:"scheduled"`
	Retry     int     `json:"retry"`
	Archived  int     `json:"archived"`
	Processed int     `json:"processed"` // today, UTC
	Failed    int     `json:"failed"`    // of these
	Latency   float64 `json:"latency"`   // how long the oldest that waits has waited
	Workers   int     `json:"workers"`
	Slots     int     `json:"slots"`

	latency time.Duration
}

func newQueueLine(q inspect.Queue) queueLine {
	return queueLine{
		Queue: q.Name, Paused: q.Paused, Pending: q.Pending, Active: q.Active, Scheduled: q.Scheduled, Retry: q.Retry,
		Archived: q.Archived, Processed: q.Processed, Failed: q.Failed, Latency: q.Latency.Seconds(),
		Workers: q.Workers, Slots: q.Slots, latency: q.Latency,
	}
}

var queuesColumns = []console.Column{
	{Head: "QUEUE"}, {Head: "STATE"}, {Head: "PENDING", Right: true}, {Head: "ACTIVE", Right: true},
	{Head: "SCHEDULED", Right: true, Drop: 2}, {Head: "RETRY", Right: true, Drop: 3}, {Head: "ARCHIVED", Right: true},
	{Head: "PROCESSED", Right: true, Drop: 4}, {Head: "FAILED", Right: true, Drop: 5}, {Head: "LATENCY", Right: true},
	{Head: "WORKERS", Right: true}, {Head: "SLOTS", Right: true, Drop: 1},
}

func (l queueLine) Cells(number func(int64) string) []string {
	state := "open"
	if l.Paused {
		state = "paused"
	}
	latency := "-"
	if l.Pending > 0 {
		latency = console.Brief(l.latency)
	}
	cells := []string{console.Plain(l.Queue, 60), state}
	for _, n := range []int{l.Pending, l.Active, l.Scheduled, l.Retry, l.Archived, l.Processed, l.Failed} {
		cells = append(cells, number(int64(n)))
	}
	return append(cells, latency, number(int64(l.Workers)), number(int64(l.Slots)))
}

func queuesCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "queues", Short: "List, pause and resume queues, and spread them over a Cluster",
		Long: `Queues lists the queues with their deliveries, as asynq sees them: each is a
chunk of a job. A queue that spans a Cluster is several of asynq's, its lanes, which
are added up, and paused and resumed together. Processed and failed are of today, UTC; latency is how long the
oldest delivery that waits has waited.
` + console.JSONHelp,
		Example: "  distpool queues\n  distpool queues pause images\n  distpool queues resume images",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				return listQueues(ctx, a, in, "", asJSON)
			})
		},
	}
	console.JSONFlag(cmd, &asJSON)
	cmd.AddCommand(
		steerCommand(a, &cobra.Command{
			Use: "pause NAME", Short: "Stop workers from taking deliveries of a queue",
			Long: "Pause stops workers from taking deliveries of the queue; calls that run go on, and\n" +
				"jobs may be submitted: they wait. Pausing twice is fine.\n" + console.JSONHelp,
			Example: "  distpool queues pause images",
		}, (*inspect.Inspector).Pause),
		steerCommand(a, &cobra.Command{
			Use: "resume NAME", Short: "Let workers take deliveries of a queue again",
			Long:    "Resume undoes pause. Resuming a queue that is not paused is fine.\n" + console.JSONHelp,
			Example: "  distpool queues resume images",
		}, (*inspect.Inspector).Resume),
		lanesCommand(a),
	)
	return cmd
}

// laneLine is a lane as it is printed.
type laneLine struct {
	Lane   string `json:"lane"`
	New    bool   `json:"new"`
	Master string `json:"master,omitempty"`
}

var lanesColumns = []console.Column{{Head: "LANE"}, {Head: "NEW JOBS"}, {Head: "MASTER"}}

func (l laneLine) Cells(func(int64) string) []string {
	use := "no"
	if l.New {
		use = "yes"
	}
	master := l.Master
	if master == "" {
		master = "-"
	}
	return []string{console.Plain(l.Lane, 100), use, console.Plain(master, 100)}
}

func lanesCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "lanes NAME [NUMBER]", Short: "Show or change the lanes of a queue on a Cluster",
		Long: `Lanes shows over which of asynq's queues a queue of a Cluster is spread, and on which
master each is. With a number, new jobs use so many lanes half a minute from now. More lanes are
safe at any time. Fewer are refused while a lane that would go has deliveries; lanes
that a queue had stay known, for the jobs in them.
` + console.JSONHelp,
		Example:           "  distpool queues lanes images\n  distpool queues lanes images 6",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.Complete(1, console.QueueWords),
		RunE: func(cmd *cobra.Command, words []string) error {
			n := 0
			if len(words) > 1 {
				var err error
				if n, err = strconv.Atoi(words[1]); err != nil {
					return console.Usage(fmt.Errorf("NUMBER %q: use a number of lanes from 1 to %d", words[1], lanes.Most))
				}
			}
			if err := names.CheckQueue(words[0]); err != nil {
				return console.Usage(err)
			}
			return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				if len(words) > 1 {
					if err := in.SetLanes(ctx, words[0], n); err != nil {
						return err
					}
				}
				lanes, err := in.Lanes(ctx, words[0])
				if err != nil {
					return err
				}
				rows := make([]laneLine, len(lanes))
				for i, l := range lanes {
					rows[i] = laneLine{l.Name, l.New, l.Master}
				}
				return console.Report(a, asJSON, lanesColumns, rows)
			})
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}

// steerCommand completes pause and resume.
func steerCommand(a *console.App, cmd *cobra.Command, steer func(*inspect.Inspector, context.Context, string) error) *cobra.Command {
	var asJSON bool
	cmd.Args = cobra.ExactArgs(1)
	cmd.ValidArgsFunction = a.Complete(1, console.QueueWords)
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		name := words[0]
		if err := names.CheckQueue(name); err != nil {
			return console.Usage(err)
		}
		return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
			if err := steer(in, ctx, name); err != nil {
				return err
			}
			return listQueues(ctx, a, in, name, asJSON)
		})
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}

// listQueues prints the queue, or all of them when the name is empty.
func listQueues(ctx context.Context, a *console.App, in *inspect.Inspector, name string, asJSON bool) error {
	queues, err := in.Queues(ctx)
	if err != nil {
		return err
	}
	rows := []queueLine{}
	for _, q := range queues {
		if name == "" || q.Name == name {
			rows = append(rows, newQueueLine(q))
		}
	}
	return console.Report(a, asJSON, queuesColumns, rows)
}
