package chaos

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/chaos/load"
)

// The topologies of Redis.
const (
	Alone    = "alone"    // one server, with an append-only file
	Sentinel = "sentinel" // a master, a replica, and a Sentinel
	Cluster  = "cluster"  // three masters
)

// Config says what to do to what. The zero value works.
type Config struct {
	// Seed is what the schedule of faults and the load follow from.
	Seed uint64
	// Duration is how long faults are injected. Defaults to 30 s.
	Duration time.Duration
	// Workers is the number of worker processes. Defaults to 4.
	Workers int
	// Producers is the number of producer processes. Defaults to 2.
	Producers int
	// Topology is Alone, Sentinel or Cluster. Defaults to Alone.
	Topology string
	// Gap is the mean time between the starts of two faults. Defaults to 2 s in runs
	// of less than 2 minutes, else to 5 s.
	Gap time.Duration
	// Faults are the kinds of faults to inject, in this order if Ordered is set.
	// Defaults to all that the topology has, but for freeze-worker.
	Faults  []string
	Ordered bool
	// Load are the kinds of load: see load.Loads. Defaults to all.
	Load []string
	// Drain is how long after the last fault everything may take to end.
	// Defaults to 60 s.
	Drain time.Duration
	// Dir is the folder to work in. Defaults to a temporary one.
	Dir string
	// Keep keeps the folder even if nothing was violated.
	Keep bool
	// Out gets the protocol of the run. Defaults to nothing.
	Out io.Writer
	// Command starts this program again. Defaults to the running one.
	Command []string
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Duration, 30*time.Second)
	set(&c.Drain, time.Minute)
	if c.Duration < 2*time.Minute {
		set(&c.Gap, 2*time.Second)
	}
	set(&c.Gap, 5*time.Second)
	if c.Workers == 0 {
		c.Workers = 4
	}
	if c.Producers == 0 {
		c.Producers = 2
	}
	if c.Topology == "" {
		c.Topology = Alone
	}
	if c.Out == nil {
		c.Out = io.Discard
	}
	if len(c.Faults) == 0 {
		c.Faults = usualKinds(c.Topology)
	}
	if len(c.Load) == 0 {
		c.Load = load.Loads()
	}
	return c
}

func (c Config) validate() error {
	if !slices.Contains([]string{Alone, Sentinel, Cluster}, c.Topology) {
		return fmt.Errorf("the topology %q is unknown; use %s, %s or %s", c.Topology, Alone, Sentinel, Cluster)
	}
	if c.Workers < 0 || c.Producers < 0 || c.Duration < 0 || c.Gap < 0 || c.Drain < 0 {
		return fmt.Errorf("workers %d, producers %d, duration %v, gap %v, drain %v: none may be negative", c.Workers, c.Producers, c.Duration, c.Gap, c.Drain)
	}
	for _, k := range c.Faults {
		if known := kindsFor(c.Topology); !slices.Contains(known, k) {
			return fmt.Errorf("there is no fault %q in topology %s; use some of %s", k, c.Topology, strings.Join(known, ", "))
		}
	}
	for _, l := range c.Load {
		if !slices.Contains(load.Loads(), l) {
			return fmt.Errorf("there is no load %q; use some of %s", l, strings.Join(load.Loads(), ", "))
		}
	}
	return nil
}
