package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

// comparison runs the plan on a Redis of its own.
type comparison struct {
	size, rounds int
	only         *regexp.Regexp
	watch        time.Duration
	out          string
	log          io.Writer

	redis   *redistest.Server
	cluster *redistest.Setup // nil until a row needs it
	dir     string           // of their data
	// samples are the measured numbers, by name of the row, implementation and key
	// of the metric.
	samples map[sample][]float64
	// failed are the measurements that could not be made, and why.
	failed []string
}

type sample struct{ row, impl, key string }

func compareCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := &comparison{log: stderr, samples: map[sample][]float64{}}
	fs := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&c.size, "n", usualSize, "`calls` of W1; the other workloads are in proportion")
	fs.IntVar(&c.rounds, "rounds", 3, "how often all is measured, in turn")
	fs.DurationVar(&c.watch, "for", 10*time.Second, "how long idle workers and handles are watched")
	fs.StringVar(&c.out, "out", "", "`file` to write, in Markdown (default: standard output alone)")
	only := fs.String("only", "", "measure what this regular `expression` matches: of the names in the table and of the implementations, as in 'W3|W1.*distpool'")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	var err error
	if c.only, err = regexp.Compile(*only); err != nil {
		return usagef("-only: %w", err)
	}
	if fs.NArg() > 0 || c.size < 1 || c.rounds < 1 || c.watch < time.Second {
		return usagef("-n %d, -rounds %d, -for %v, %d other arguments: -n and -rounds must be 1 or more, -for 1s or more, and there are no others", c.size, c.rounds, c.watch, fs.NArg())
	}
	return c.run(ctx, stdout)
}

func (c *comparison) run(ctx context.Context, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "bench-redis-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if c.redis, err = redistest.StartProcess(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.redis.Stop()) }()
	c.dir = dir
	defer func() {
		if c.cluster != nil {
			err = errors.Join(err, c.cluster.Kill())
		}
	}()
	started := time.Now()
	for round := range c.rounds {
		fmt.Fprintf(c.log, "round %d of %d\n", round+1, c.rounds)
		if err := c.round(ctx); err != nil {
			return err
		}
	}
	page, err := c.page(ctx, started)
	if err != nil {
		return err
	}
	if _, err := stdout.Write(page); err != nil {
		return err
	}
	if c.out != "" {
		if err := os.WriteFile(c.out, page, 0o644); err != nil { //nolint:gosec // a page for everybody
			return err
		}
	}
	if len(c.failed) > 0 {
		return fmt.Errorf("%d measurements failed: see above", len(c.failed))
	}
	return nil
}

// round measures everything once: fleet by fleet, and within a fleet one
// implementation after the other, so that their numbers are of the same minutes.
func (c *comparison) round(ctx context.Context) error {
	for rows := range fleets() {
		for _, impl := range columns {
			todo := slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
				return !slices.Contains(r.impls, impl) || !c.only.MatchString(r.name+" "+impl)
			})
			if len(todo) == 0 {
				continue
			}
			if err := c.withFleet(ctx, impl, todo); err != nil {
				return err
			}
		}
	}
	return nil
}

// fleets yields the rows of the plan that follow each other with one fleet.
func fleets() func(func([]row) bool) {
	return func(yield func([]row) bool) {
		for lo := 0; lo < len(plan); {
			hi := lo
			for hi < len(plan) && plan[hi].fleet == plan[lo].fleet {
				hi++
			}
			if !yield(plan[lo:hi]) {
				return
			}
			lo = hi
		}
	}
}

// withFleet measures rows of one implementation on an empty Redis.
func (c *comparison) withFleet(ctx context.Context, impl string, rows []row) (err error) {
	f := rows[0].fleet
	addr, err := c.addr(f)
	if err != nil {
		return err
	}
	s := settings{addr: addr, impl: impl, conc: f.conc, queues: f.queues}
	rdb := dial(s)
	defer rdb.Close()
	if err := flush(ctx, rdb); err != nil {
		return err
	}
	if !isPython(impl) {
		var started []*workerProcess
		defer func() {
			for _, w := range started {
				err = errors.Join(err, w.stop())
			}
		}()
		for range f.workers {
			w, err := startWorker(ctx, s)
			if err != nil {
				return err
			}
			started = append(started, w)
		}
		if err := allRun(ctx, s, f.workers); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if err := c.measure(ctx, impl, addr, r); err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.failed = append(c.failed, r.name+", "+impl)
			fmt.Fprintf(c.log, "%s, %s: %v\n", r.name, impl, err)
		}
	}
	return nil
}

// addr is the address of the Redis of a fleet.
func (c *comparison) addr(f fleet) (_ string, err error) {
	if !f.cluster {
		return c.redis.Addr(), nil
	}
	if c.cluster == nil {
		if c.cluster, err = redistest.StartClusterProcess(c.dir, 3, 0); err != nil {
			return "", err
		}
	}
	var addrs []string
	for _, s := range c.cluster.Servers {
		addrs = append(addrs, s.Addr())
	}
	return strings.Join(addrs, ","), nil
}

// flush empties Redis; all masters of a Cluster.
func flush(ctx context.Context, rdb redis.UniversalClient) error {
	if c, ok := rdb.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error { return master.FlushAll(ctx).Err() })
	}
	return rdb.FlushAll(ctx).Err()
}

// allRun waits until n workers run.
func allRun(ctx context.Context, s settings, n int) error {
	rdb := dial(s)
	defer rdb.Close()
	deadline := time.Now().Add(time.Minute)
	for {
		pids, err := workers(rdb)
		switch {
		case err != nil:
			return err
		case len(pids) >= n:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("only %d of %d workers of %s run after a minute", len(pids), n, s.impl)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// measure runs one row in a process of its own and notes its numbers.
func (c *comparison) measure(ctx context.Context, impl, addr string, r row) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	args := r.command(impl, c.size)
	var stdout bytes.Buffer
	cmd := exec.CommandContext(ctx, self, append(args, "-for", c.watch.String())...)
	cmd.Env = append(os.Environ(), "REDIS_ADDR="+addr)
	cmd.Stdout, cmd.Stderr = &stdout, c.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		return err
	}
	fmt.Fprintf(c.log, "%s: %s", impl, &stdout)
	var line map[string]any
	if err := json.Unmarshal(stdout.Bytes(), &line); err != nil {
		return fmt.Errorf("reading the line of bench %s: %w", strings.Join(args, " "), err)
	}
	for _, m := range r.metrics {
		x, ok := line[m.key].(float64)
		if !ok {
			return fmt.Errorf("the line of bench %s has no number %q: %s", strings.Join(args, " "), m.key, &stdout)
		}
		k := sample{r.name, impl, m.key}
		c.samples[k] = append(c.samples[k], x)
	}
	return nil
}
