// Package doctor is the command doctor: it checks Redis, workers and queues for what
// endangers jobs. server.go has what a Redis says of itself, commands.go what its user
// may run.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
)

// The verdicts of a check.
const (
	fine    = "ok"
	doubt   = "warning" // a promise is weaker than it could be
	trouble = "bad"     // a promise is broken, or jobs do not go on
)

// finding is the outcome of one check.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Found   string `json:"found"`
	Remedy  string `json:"remedy,omitempty"`
}

var findingsColumns = []console.Column{{Head: "CHECK"}, {Head: "VERDICT"}, {Head: "FOUND"}}

func (f finding) Cells(func(int64) string) []string {
	found := console.Plain(f.Found, 120)
	if f.Remedy != "" {
		found += "; " + console.Plain(f.Remedy, 200)
	}
	return []string{console.Plain(f.Check, 80), f.Verdict, found}
}

const (
	pings       = 20
	slowPing    = 10 * time.Millisecond // every submission and every chunk waits for a few
	largeSkew   = time.Second
	longWait    = time.Minute
	fullPercent = 80
)

// Command is distpool doctor.
func Command(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check Redis, workers and queues for what endangers jobs",
		Long: `Doctor checks the version, the role and the settings of Redis that distpool's
promises rest on (eviction, memory, persistence), of a Cluster those of each
master; whether Redis has the commands that are needed and this user may run them,
by running each on keys of --queue and of no job, which it deletes; how long Redis takes to answer; how far this machine's clock is off; the workers; and
queues whose deliveries are stuck. It leaves all as it is. Each finding is ok, a
warning or bad, with what to do about it. The exit code is 1 when one is bad, and
3 when Redis cannot be used.
` + console.JSONHelp,
		Example: "  distpool doctor\n  distpool doctor --json | jq 'select(.verdict != \"ok\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, rdb redis.UniversalClient) error {
				found, err := examine(ctx, in, rdb, a.Queue)
				if len(found) > 0 { // even if that was not all
					if err := console.Report(a, asJSON, findingsColumns, found); err != nil {
						return err
					}
				}
				if err != nil {
					return err
				}
				if slices.ContainsFunc(found, func(f finding) bool { return f.Verdict == trouble }) {
					return console.CallFailed(nil)
				}
				return nil
			})
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}

func examine(ctx context.Context, in *inspect.Inspector, rdb redis.UniversalClient, queue string) ([]finding, error) {
	servers, err := serverInfos(ctx, rdb)
	if err != nil {
		return nil, fmt.Errorf("asking Redis for its settings (INFO): %w", err)
	}
	var all []finding
	for _, s := range servers {
		for _, f := range []finding{s.version(), s.role(), s.eviction(), s.memory(), s.persistence()} {
			if len(servers) > 1 {
				f.Check += " of " + s.name
			}
			all = append(all, f)
		}
	}
	for _, check := range []func() ([]finding, error){
		func() ([]finding, error) {
			if slices.ContainsFunc(all, func(f finding) bool { return f.Verdict == trouble && strings.HasPrefix(f.Check, "role") }) {
				return nil, nil // it refuses them all
			}
			f, err := checkCommands(ctx, rdb, queue)
			return []finding{f}, err
		},
		func() ([]finding, error) { return checkLatency(ctx, rdb) },
		func() ([]finding, error) { return checkClock(ctx, in) },
		func() ([]finding, error) { return checkWorkers(ctx, in) },
		func() ([]finding, error) { return checkQueues(ctx, in) },
	} {
		found, err := check()
		if err != nil {
			return all, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func checkLatency(ctx context.Context, rdb redis.UniversalClient) ([]finding, error) {
	took := make([]time.Duration, pings)
	for i := range took {
		began := time.Now()
		if err := rdb.Ping(ctx).Err(); err != nil {
			return nil, fmt.Errorf("measuring the latency: %w", err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	median := took[pings/2]
	f := finding{Check: "latency", Verdict: fine, Found: fmt.Sprintf("%v, at worst %v of %d", median.Round(time.Microsecond), took[pings-1].Round(time.Microsecond), pings)}
	if median > slowPing {
		f.Verdict, f.Remedy = doubt, "put workers and producers nearer to Redis, or see what keeps it busy (SLOWLOG GET)"
	}
	return []finding{f}, nil
}

func checkClock(ctx context.Context, in *inspect.Inspector) ([]finding, error) {
	now, err := in.Now(ctx)
	if err != nil {
		return nil, err
	}
	skew := time.Until(now)
	f := finding{Check: "clock", Verdict: fine, Found: fmt.Sprintf("Redis is %v from this machine", skew.Round(time.Millisecond))}
	if skew.Abs() > largeSkew {
		f.Verdict, f.Remedy = doubt, "synchronize the clocks (NTP): times that people and deadlines of asynq go by are off"
	}
	return []finding{f}, nil
}

func checkWorkers(ctx context.Context, in *inspect.Inspector) ([]finding, error) {
	workers, err := in.Workers(ctx)
	if err != nil {
		return nil, err
	}
	slots, busy := 0, 0
	for _, w := range workers {
		slots, busy = slots+w.Concurrency, busy+w.Stats.Busy
	}
	f := finding{Check: "workers", Verdict: fine, Found: fmt.Sprintf("%d, with %d of %d slots busy", len(workers), busy, slots)}
	if len(workers) == 0 {
		f.Verdict, f.Found, f.Remedy = doubt, "none", "start a worker: jobs wait for one"
	}
	return []finding{f}, nil
}

// checkQueues has a finding for each queue with deliveries.
func checkQueues(ctx context.Context, in *inspect.Inspector) ([]finding, error) {
	queues, err := in.Queues(ctx)
	if err != nil {
		return nil, err
	}
	var all []finding
	for _, q := range queues {
		f := finding{Check: "queue " + q.Name, Verdict: fine, Found: fmt.Sprintf("%d wait, %d run", q.Pending, q.Active)}
		stuck := q.Pending + q.Active + q.Retry
		switch {
		case stuck > 0 && q.Workers == 0:
			f.Verdict, f.Found = trouble, fmt.Sprintf("%d deliveries, and no worker serves it", stuck)
			f.Remedy = "start a worker for this queue"
		case q.Paused:
			f.Verdict, f.Found = doubt, fmt.Sprintf("paused, %d wait", q.Pending)
			f.Remedy = "distpool queues resume " + q.Name
		case q.Latency > longWait:
			f.Verdict, f.Found = doubt, fmt.Sprintf("%d wait, the oldest for %s", q.Pending, console.Brief(q.Latency))
			f.Remedy = "start more workers, or see what holds their slots (distpool workers)"
		}
		all = append(all, f)
	}
	return all, nil
}
