// Command run hurts a whole distpool on purpose, for a while, and checks that
// nothing that was promised was broken: see package chaos.
//
// Its last line is
//
//	chaos: seed=7 faults=31 calls=20480 recovery_max=6.1s violations=0
//
// It exits with 1 if something was violated, and with 2 if it could not run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/distpool/distpool/internal/chaos"
	"github.com/distpool/distpool/internal/chaos/load"
)

func main() {
	if code, isChild := load.Child(); isChild {
		os.Exit(code)
	}
	c := chaos.Config{Out: os.Stdout}
	var faults, kinds string
	flag.Uint64Var(&c.Seed, "seed", 1, "what the schedule of faults follows from")
	flag.DurationVar(&c.Duration, "duration", 0, "how long faults are injected (default 30s)")
	flag.DurationVar(&c.Gap, "gap", 0, "mean time between the starts of two faults (default 2s, from 2 minutes on 5s)")
	flag.DurationVar(&c.Drain, "drain", 0, "how long after the last fault everything may take to end (default 1m)")
	flag.IntVar(&c.Workers, "workers", 0, "number of worker processes (default 4)")
	flag.IntVar(&c.Producers, "producers", 0, "number of producer processes (default 2)")
	flag.StringVar(&c.Topology, "topology", "", "alone, sentinel or cluster (default alone)")
	flag.StringVar(&faults, "faults", "", "kinds of faults, separated by commas (default all)")
	flag.BoolVar(&c.Ordered, "ordered", false, "inject the faults in the order of -faults, over and over")
	flag.StringVar(&kinds, "load", "", "kinds of load, separated by commas (default all: "+strings.Join(load.Loads(), ",")+")")
	flag.StringVar(&c.Dir, "dir", "", "folder to work in (default a temporary one)")
	flag.BoolVar(&c.Keep, "keep", false, "keep the folder even if nothing was violated")
	flag.Parse()
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
	}
	c.Faults, c.Load = split(faults), split(kinds)
	os.Exit(run(c))
}

func run(c chaos.Config) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := chaos.Run(ctx, c)
	if s != nil {
		s.Print(os.Stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	case len(s.Violations) > 0:
		return 1
	}
	return 0
}
