package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

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

var findingsColumns = []column{{head: "CHECK"}, {head: "VERDICT"}, {head: "FOUND"}}

func (f finding) cells(func(int64) string) []string {
	found := plain(f.Found, 120)
	if f.Remedy != "" {
		found += "; " + plain(f.Remedy, 200)
	}
	return []string{plain(f.Check, 80), f.Verdict, found}
}

const (
	pings       = 20
	slowPing    = 10 * time.Millisecond // every submission and every chunk waits for a few
	largeSkew   = time.Second
	longWait    = time.Minute
	fullPercent = 80
)

func (a *app) doctorCommand() *cobra.Command {
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
` + jsonHelp,
		Example: "  distpool doctor\n  distpool doctor --json | jq 'select(.verdict != \"ok\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, rdb redis.UniversalClient) error {
				found, err := examine(ctx, in, rdb, a.flags.queue)
				if len(found) > 0 { // even if that was not all
					if err := report(a, asJSON, findingsColumns, found); err != nil {
						return err
					}
				}
				if err != nil {
					return err
				}
				if slices.ContainsFunc(found, func(f finding) bool { return f.Verdict == trouble }) {
					return &exitError{ExitCallFailed, nil}
				}
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON)
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

// serverInfo is what a Redis says of itself.
type serverInfo struct {
	name   string
	fields map[string]string
}

// serverInfos asks the Redis, or each master of a Cluster.
func serverInfos(ctx context.Context, rdb redis.UniversalClient) ([]serverInfo, error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		s, err := infoOf(ctx, rdb, "")
		return []serverInfo{s}, err
	}
	var mu sync.Mutex // guards all
	var all []serverInfo
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		s, err := infoOf(ctx, c, c.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
		return err
	})
	slices.SortFunc(all, func(x, y serverInfo) int { return strings.Compare(x.name, y.name) })
	return all, err
}

func infoOf(ctx context.Context, c redis.Cmdable, name string) (serverInfo, error) {
	s := serverInfo{name: name, fields: map[string]string{}}
	text, err := c.Info(ctx).Result()
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			s.fields[key] = value
		}
	}
	return s, err
}

func (s serverInfo) number(field string) int64 {
	n, _ := strconv.ParseInt(s.fields[field], 10, 64)
	return n
}

func (s serverInfo) version() finding {
	f := finding{Check: "redis", Verdict: fine, Found: "version " + s.fields["redis_version"]}
	var major, minor int
	if _, err := fmt.Sscanf(s.fields["redis_version"], "%d.%d", &major, &minor); err != nil {
		f.Verdict, f.Found, f.Remedy = doubt, "it does not say its version", "make sure that it is Redis 6.2 or newer, or does the same"
	} else if major < 6 || major == 6 && minor < 2 {
		f.Verdict, f.Remedy = trouble, "use Redis 6.2 or newer"
	}
	return f
}

func (s serverInfo) eviction() finding {
	policy := s.fields["maxmemory_policy"]
	f := finding{Check: "eviction", Verdict: fine, Found: policy}
	switch policy {
	case "noeviction":
	case "":
		f.Verdict, f.Found, f.Remedy = doubt, "Redis does not say its policy", "make sure that nothing is evicted"
	default:
		f.Verdict, f.Remedy = trouble, "set maxmemory-policy noeviction: with another one Redis may delete jobs that run"
	}
	return f
}

func (s serverInfo) memory() finding {
	const mib = 1 << 20
	used, most := s.number("used_memory"), s.number("maxmemory")
	f := finding{Check: "memory", Verdict: fine, Found: fmt.Sprintf("%d of %d MiB used", used/mib, most/mib)}
	switch {
	case most == 0:
		f.Verdict, f.Found = doubt, fmt.Sprintf("%d MiB used, no limit", used/mib)
		f.Remedy = "set maxmemory, so that a full Redis refuses jobs and is not killed by the system"
	case used >= most:
		f.Verdict, f.Remedy = trouble, "raise maxmemory or keep results for a shorter time: this full Redis refuses jobs"
	case used*100 >= most*fullPercent:
		f.Verdict, f.Remedy = doubt, "raise maxmemory or keep results for a shorter time: a full Redis refuses jobs"
	}
	return f
}

func (s serverInfo) persistence() finding {
	f := finding{Check: "persistence", Verdict: fine, Found: "append-only file"}
	switch {
	case s.fields["aof_last_write_status"] == "err", s.fields["rdb_last_bgsave_status"] == "err":
		f.Verdict, f.Found = trouble, "the last write to the disk failed"
		f.Remedy = "see the log of Redis; is the disk full?"
	case s.fields["aof_enabled"] != "1":
		f.Verdict, f.Found = doubt, "no append-only file"
		f.Remedy = "set appendonly yes: without it a restart of Redis loses the jobs since the last snapshot"
	}
	return f
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
			f.Verdict, f.Found = doubt, fmt.Sprintf("%d wait, the oldest for %s", q.Pending, brief(q.Latency))
			f.Remedy = "start more workers, or see what holds their slots (distpool workers)"
		}
		all = append(all, f)
	}
	return all, nil
}
