package cli

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

var workersColumns = []column{
	{head: "WORKER"}, {head: "HOST", drop: 2}, {head: "PID", right: true, drop: 1}, {head: "BUSY", right: true},
	{head: "CALLS", right: true}, {head: "FAILED", right: true}, {head: "RATE", right: true}, {head: "SEEN", right: true, drop: 5},
	{head: "VERSION", drop: 3}, {head: "QUEUES", drop: 6}, {head: "TASKS", drop: 4},
}

func (l workerLine) cells(number func(int64) string) []string {
	return []string{
		plain(l.Worker, 80), plain(l.Host, 40), strconv.Itoa(l.PID), fmt.Sprintf("%d/%d", l.Busy, l.Slots),
		number(l.Calls), number(l.Failed), perSecond(l.Rate, number), brief(l.lastSeen),
		plain(l.Version, 20), plain(strings.Join(slices.Sorted(maps.Keys(l.Queues)), ", "), 60), plain(strings.Join(l.Tasks, ", "), 200),
	}
}

func (a *app) workersCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "workers", Short: "List the live workers",
		Long: `Workers lists the live workers of all queues: those whose heartbeat came within
the last ` + fleet.Lifetime.String() + `. How busy they are, and their calls, are as old as that.
` + jsonHelp,
		Example: "  distpool workers\n  distpool workers --json | jq 'select(.busy == .slots).worker'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				workers, err := in.Workers(ctx)
				if err != nil {
					return err
				}
				rows := make([]workerLine, len(workers))
				for i, w := range workers {
					rows[i] = newWorkerLine(w)
				}
				return report(a, asJSON, workersColumns, rows)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
