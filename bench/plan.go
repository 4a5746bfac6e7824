package main

import (
	"slices"
	"strconv"
)

// fleet is a set of equal worker processes.
type fleet struct {
	workers, conc, queues int  // no workers: the workload has its own, or needs none
	cluster               bool // on a Cluster of 3 masters
}

// row is one measurement of the comparison.
type row struct {
	name    string
	fleet   fleet
	impls   []string
	args    []string // of bench run
	n       int      // at the usual size
	fixed   bool     // n does not follow the size of the comparison
	metrics []metric
}

// metric is a number of a line and the line of the table for it.
type metric struct {
	key, label string
	lower      bool // is better
}

var (
	alone     = []string{"distpool"}
	asynqs    = []string{"asynq-stock", "asynq-tuned", "asynq-tuned-further"}
	asynqFast = []string{"asynq-tuned", "asynq-tuned-further"}
	everybody = slices.Concat(alone, asynqs, []string{"asynq-ten-servers"}, pythons)
	saturated = []string{"distpool", "asynq-tuned-further", "asynq-ten-servers", "asynq-32-servers", "floor"}
	columns   = slices.Concat(alone, asynqs, []string{"asynq-ten-servers", "asynq-32-servers"}, pythons, []string{"floor"})
)

var (
	rate   = []metric{{"rate", "calls/s", false}}
	millis = []metric{{"p50_ms", "p50, ms", true}, {"p99_ms", "p99, ms", true}}
	eff    = []metric{{"eff", "ideal / time", false}}
	memory = []metric{{"mem_per", "bytes", true}}
	idle   = []metric{{"cmds_per_s", "Redis commands/s", true}, {"cpu_pct", "% of a core, all workers", true}}
	shares = []metric{{"rate", "calls/s", false}, {"prod_us_per", "producer, us a call", true}, {"worker_us_per", "worker, us a call", true},
		{"redis_us_per", "Redis, us a call", true}, {"all_us_per", "all processors, us a call", true}}
)

// The fleets. Rows of one fleet follow each other, so that it starts once.
var (
	one     = fleet{1, 10, 1, false}
	two     = fleet{1, 10, 2, false} // queues
	eight   = fleet{8, 10, 1, false}
	fifty   = fleet{50, 2, 1, false}
	wide    = fleet{1, 50, 1, false}
	full    = fleet{1, 64, 1, false}
	cluster = fleet{1, 64, 1, true}
	none    = fleet{0, 10, 1, false}
)

// plan is all that is compared.
var plan = []row{
	{"W1: single calls, 64 goroutines", one, everybody, []string{"W1", "-g", "64"}, 20_000, false,
		[]metric{{"rate", "calls/s", false}, {"prod_cpu_s", "producer's processor time, s", true}}},
	{"W2: a small map, automatic chunks", one, everybody, []string{"W2"}, 10_000, true, rate},
	{"W2: a map, automatic chunks", one, everybody, []string{"W2"}, 1_000_000, false, rate},
	{"W2: a map ten times as large, automatic chunks", one, []string{"distpool", "asynq-tuned-further", "python-pool"}, []string{"W2"}, 10_000_000, false, rate},
	{"W2: a map, chunks of 100", one, everybody, []string{"W2", "-chunk", "100"}, 1_000_000, false, rate},
	{"W3: a call when all is idle", one, without(everybody, "asynq-stock"), []string{"W3"}, 1_000, false, millis},
	{"W3: a call when all is idle, stock", one, []string{"asynq-stock"}, []string{"W3"}, 5, true, millis[:1]},
	{"W6: stream in any order", one, without(everybody, "asynq-ten-servers"), []string{"W6"}, 1_000_000, false,
		[]metric{{"rate", "calls/s", false}, {"heap_mb", "heap, MiB (Python: resident)", true}}},
	{"W6: a stream of a tenth", one, alone, []string{"W6"}, 100_000, false, []metric{{"heap_mb", "heap, MiB", true}}},
	{"W8: what a single call costs Redis", one, slices.Concat(alone, asynqs), []string{"W8", "-g", "64"}, 20_000, false,
		[]metric{{"redis_us_per", "processor time, us", true}, {"redis_cmds_per", "commands, those of scripts too", true}}},
	{"W10: values of 1 MiB there and back", one, slices.Concat(alone, asynqFast), []string{"W10"}, 200, false,
		[]metric{{"mb_per_s", "MiB/s", false}, {"of_plain", "of plain SET and GET", false}}},
	{"W12: blocking calls, 64 slots, 256 callers", full, saturated, []string{"W12", "-g", "256"}, 40_000, false, shares},
	{"W3: a call when all is idle, 64 slots", full, []string{"distpool", "floor"}, []string{"W3"}, 1_000, false, millis},
	{"W12: the same, on a Cluster of 3", cluster, alone, []string{"W12", "-g", "256"}, 40_000, false, shares},
	{"W3: the same, on a Cluster of 3", cluster, alone, []string{"W3"}, 1_000, false, millis},
	{"W3: the same, worker of two queues", two, slices.Concat(alone, asynqFast), []string{"W3"}, 1_000, false, millis},
	{"W3: the same, 8 idle workers", eight, slices.Concat(alone, asynqFast), []string{"W3"}, 1_000, false, millis},
	{"W5: calls of 10 ms, 50 slots, one map", wide, without(everybody, "asynq-ten-servers"), []string{"W5"}, 1_000, true, eff},
	{"W5: the same, single calls", wide, without(everybody, "asynq-ten-servers"), []string{"W5", "-g", "64"}, 1_000, true, eff},
	{"W7: an idle worker", none, slices.Concat(alone, asynqs, []string{"asynq-ten-servers"}), []string{"W7"}, 0, true, idle},
	{"W7: 50 idle workers", fifty, alone, []string{"W7"}, 0, true, idle},
	{"W11: of 50 workers, one call wakes", fifty, alone, []string{"W11"}, 200, true, []metric{{"woken", "workers", true}}},
	{"W4: a queued call", none, slices.Concat(alone, asynqFast), []string{"W4"}, 10_000, false, memory},
	{"W4: an int of a queued map", none, slices.Concat(alone, asynqFast), []string{"W4-map"}, 1_000_000, false, memory},
	{"W4: a kept value", none, slices.Concat(alone, asynqFast), []string{"W4-stored"}, 10_000, false, memory},
	{"W4: what is left", none, alone, []string{"W4-left"}, 10_000, false, []metric{{"mem_per", "bytes for each call", true}, {"keys", "keys", true}}},
	{"W9: outstanding handles", none, alone, []string{"W9"}, 10_000, true,
		[]metric{{"cmds_per_s", "Redis commands/s", true}, {"redis_cpu_pct", "% of a core, Redis", true}}},
}

func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}

// usualSize is the n of W1 to which the others are in proportion.
const usualSize = 20_000

// calls is how many calls the row makes in a comparison of that size.
func (r row) calls(size int) int {
	if r.fixed || size == usualSize {
		return r.n
	}
	return max(min(r.n, 20), int(float64(r.n)*float64(size)/usualSize))
}

// command is the row as one would type it, for a comparison of that size.
func (r row) command(impl string, size int) []string {
	args := append([]string{"run"}, r.args...)
	if n := r.calls(size); n > 0 {
		args = append(args, "-n", strconv.Itoa(n))
	}
	return append(args, "-conc", strconv.Itoa(r.fleet.conc), "-impl", impl)
}
