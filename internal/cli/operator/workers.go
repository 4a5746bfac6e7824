package operator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
)

// workerLine is a worker as it is printed.
type workerLine struct {
	Worker   string         `json:"worker"`
	Host     string         `json:"host"`
	PID      int            `json:"pid"`
	Slots    int            `json:"slots"`
	Busy     int            `json:"busy"`  // slots with a chunk
	Calls    int64          `json:"calls"` // that ended since it started
	Failed   int64          `json:"failed"`
	Rate     float64        `json:"rate"`   // calls per second
	Queues   map[string]int `json:"queues"` // name -> weight
	Tasks    []string       `json:"tasks"`
	Version  string         `json:"version,omitempty"`
	Started  time.Time      `json:"started"` // by the worker's clock
	LastSeen float64        `json:"last_seen"`
	Held     int            `json:"held,omitempty"` // slots whose calls wait for nested jobs

	lastSeen time.Duration
}

func newWorkerLine(w fleet.LiveWorker) workerLine {
	return workerLine{
		Worker: w.ID, Host: w.Host, PID: w.PID, Slots: w.Concurrency, Busy: w.Stats.Busy, Calls: w.Stats.Calls,
		Failed: w.Stats.Failed, Rate: w.Stats.Rate, Queues: w.Queues, Tasks: w.Tasks, Version: w.Version,
		Started: w.Started.UTC(), LastSeen: w.LastSeen.Seconds(), Held: len(w.Held), lastSeen: w.LastSeen,
	}
}

var workersColumns = []console.Column{
	{Head: "WORKER"}, {Head: "HOST", Drop: 2}, {Head: "PID", Right: true, Drop: 1}, {Head: "BUSY", Right: true},
	{Head: "CALLS", Right: true}, {Head: "FAILED", Right: true}, {Head: "RATE", Right: true}, {Head: "SEEN", Right: true, Drop: 5},
	{Head: "VERSION", Drop: 3}, {Head: "QUEUES", Drop: 6}, {Head: "TASKS", Drop: 4},
}

func (l workerLine) Cells(number func(int64) string) []string {
	return []string{
		console.Plain(l.Worker, 80), console.Plain(l.Host, 40), strconv.Itoa(l.PID), fmt.Sprintf("%d/%d", l.Busy, l.Slots),
		number(l.Calls), number(l.Failed), perSecond(l.Rate, number), console.Brief(l.lastSeen),
		console.Plain(l.Version, 20), console.Plain(strings.Join(slices.Sorted(maps.Keys(l.Queues)), ", "), 60), console.Plain(strings.Join(l.Tasks, ", "), 200),
	}
}

func workersCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "workers", Short: "List the live workers",
		Long: `Workers lists the live workers of all queues: those whose heartbeat came within
the last ` + fleet.Lifetime.String() + `. How busy they are, and their calls, are as old as that.
` + console.JSONHelp,
		Example: "  distpool workers\n  distpool workers --json | jq 'select(.busy == .slots).worker'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				workers, err := in.Workers(ctx)
				if err != nil {
					return err
				}
				rows := make([]workerLine, len(workers))
				for i, w := range workers {
					rows[i] = newWorkerLine(w)
				}
				return console.Report(a, asJSON, workersColumns, rows)
			})
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}
