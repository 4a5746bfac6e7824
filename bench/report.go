package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// median is the middle one of the samples; ok says whether there are any.
func (c *comparison) median(r row, impl, key string) (x float64, ok bool) {
	xs := slices.Sorted(slices.Values(c.samples[sample{r.name, impl, key}]))
	if len(xs) == 0 {
		return 0, false
	}
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2, true
}

// page writes the medians and ratios as a Markdown page.
func (c *comparison) page(ctx context.Context, started time.Time) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench-compare`"+`: medians of %d rounds, in which all implementations take turns on one Redis.
Every value of every call was checked. Compare numbers within this page only: the machine is shared, and its load
changes from run to run.

`, c.rounds)
	if err := c.machine(ctx, &b, started); err != nil {
		return nil, err
	}
	b.WriteString("\n## Medians\n\n| measurement | calls | unit | " + strings.Join(columns, " | ") + " | ÷ best asynq | ÷ python-pool |\n")
	b.WriteString("| --- | ---: | --- |" + strings.Repeat(" ---: |", len(columns)+2) + "\n")
	for _, r := range plan {
		for _, m := range r.metrics {
			c.tableLine(&b, r, m)
		}
	}
	b.WriteString(`
The last two columns are ratios of distpool's number: for rates, more than 1 is faster; for times, bytes and costs,
less than 1 is better. The best asynq is the best of all columns whose name begins with asynq.

The asynq columns are asynq by hand. stock: its defaults, and a reply list for each call. tuned: it looks for tasks
each millisecond; results go into a key and onto one reply list of the producer. tuned-further: four servers in each
worker process, and the commands of concurrent goroutines in common pipelines, in the producer and in the worker.
ten-servers: that with ten servers, one for each slot, which answers a single call sooner and costs more while nothing
happens. 32-servers: that with 32, for 64 slots. Python's pools run on this machine alone, without Redis. The floor is no system
to use: single calls in asynq's format and three scripts of many entries, without retries, errors, recovery or cancellation.
`)
	if len(c.failed) > 0 {
		b.WriteString("\nThese measurements failed and are missing in a median: " + strings.Join(c.failed, "; ") + ".\n")
	}
	c.commands(&b)
	return b.Bytes(), nil
}

func (c *comparison) tableLine(b *bytes.Buffer, r row, m metric) {
	var cells []string
	best, measured := 0.0, false
	for _, impl := range columns {
		x, ok := c.median(r, impl, m.key)
		if !ok {
			cells = append(cells, "")
			continue
		}
		cells = append(cells, readable(x))
		if strings.HasPrefix(impl, "asynq") && (best == 0 || (x < best) == m.lower) {
			best = x
		}
		measured = true
	}
	if !measured {
		return // not measured this time
	}
	calls := ""
	if n := r.calls(c.size); n > 0 {
		calls = readable(float64(n))
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |", r.name, calls, m.label, strings.Join(cells, " | "))
	ours, ok := c.median(r, "distpool", m.key)
	python, _ := c.median(r, "python-pool", m.key)
	for _, peer := range []float64{best, python} {
		if !ok || peer == 0 {
			b.WriteString(" |")
			continue
		}
		fmt.Fprintf(b, " %.2f |", ours/peer)
	}
	b.WriteString("\n")
}

// readable writes a number with three or four digits that mean something.
func readable(x float64) string {
	switch {
	case x >= 1000 || x <= -1000:
		s := strconv.FormatFloat(x, 'f', 0, 64)
		for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 2, 64), ".00")
}

// machine writes what it ran on.
func (c *comparison) machine(ctx context.Context, b *bytes.Buffer, started time.Time) error {
	rdb := dial(settings{addr: c.redis.Addr()})
	defer rdb.Close()
	u, err := usageOf(ctx, rdb)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "- %s, %.0f minutes, one-minute load at the end %s\n", started.UTC().Format("2006-01-02 15:04 MST"), time.Since(started).Minutes(), firstWord("/proc/loadavg"))
	fmt.Fprintf(b, "- %s, %s, %d processors (%s)\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor())
	fmt.Fprintf(b, "- Redis %s without persistence, %s", u.version, runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/hibiken/asynq" || m.Path == "github.com/redis/go-redis/v9" {
				fmt.Fprintf(b, ", %s %s", m.Path, m.Version)
			}
		}
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		fmt.Fprintf(b, ", commit %s", strings.TrimSpace(string(out)))
	}
	if out, err := exec.CommandContext(ctx, "python3", "--version").Output(); err == nil {
		fmt.Fprintf(b, ", %s", strings.TrimSpace(string(out)))
	}
	b.WriteString("\n")
	return nil
}

func firstWord(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	word, _, _ := strings.Cut(string(data), " ")
	return word
}

func processor() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for l := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// commands writes how each number can be measured again.
func (c *comparison) commands(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## Commands\n\nAll of it: `make bench-compare N=%d ROUNDS=%d FOR=%v`. One measurement: `make bench`, then with `REDIS_ADDR` set the\nworkers, and the producer with the `-impl` of the column.\n\n| measurement | workers | producer |\n| --- | --- | --- |\n", c.size, c.rounds, c.watch)
	for _, r := range plan {
		worker := "its own"
		if r.fleet.workers > 0 {
			worker = fmt.Sprintf("%d × `bench worker -conc %d -queues %d`", r.fleet.workers, r.fleet.conc, r.fleet.queues)
		}
		args := r.command("", c.size)
		fmt.Fprintf(b, "| %s | %s | `bench %s` |\n", r.name, worker, strings.Join(args[:len(args)-2], " "))
	}
}
