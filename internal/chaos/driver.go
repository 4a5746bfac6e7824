package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/chaos/load"
	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/redisconn"
)

// driver runs one chaos.
type driver struct {
	cfg       Config
	dir       string
	topology  *topology
	workers   []*place
	producers []*place
	h         *history.Writer
	rdb       redis.UniversalClient // directly
	router    *lanes.Router
	accepted  *load.Feed
	began     time.Time

	redis      sync.Mutex // held while a fault is at work on Redis; guards duplicates
	duplicates int
	deleted    map[string]bool // jobs of deliveries that were deleted; guarded by redis too
	say        func(format string, args ...any)
}

// Run does what c says and returns what came of it. An error means that the run
// itself could not be carried out.
func Run(ctx context.Context, c Config) (*Summary, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if len(c.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		c.Command = []string{self}
	}
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "distpool-chaos-")
		if err != nil {
			return nil, err
		}
		c.Dir = dir
	}
	d := &driver{cfg: c, dir: c.Dir, began: time.Now(), deleted: map[string]bool{}}
	var out sync.Mutex
	d.say = func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Fprintf(c.Out, "%7.2fs  "+format+"\n", append([]any{time.Since(d.began).Seconds()}, args...)...)
	}
	s, err := d.run(ctx)
	if s != nil && len(s.Violations) == 0 && err == nil && !c.Keep {
		if err := os.RemoveAll(c.Dir); err != nil {
			return s, err
		}
	} else {
		d.say("the histories and logs are in %s", c.Dir)
	}
	return s, err
}

func (d *driver) histories() string { return filepath.Join(d.dir, "history") }

func (d *driver) run(ctx context.Context) (s *Summary, err error) {
	for _, sub := range []string{d.histories(), filepath.Join(d.dir, "log"), filepath.Join(d.dir, "redis")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, err
		}
	}
	if d.h, err = history.Create(d.histories(), "driver"); err != nil {
		return nil, err
	}
	defer d.h.Close()
	redis.SetLogger(quiet{})
	if d.topology, err = startTopology(ctx, d.cfg.Topology, filepath.Join(d.dir, "redis")); err != nil {
		return nil, err
	}
	defer func() {
		d.killAll()
		err = errors.Join(err, d.topology.stop())
	}()
	if d.rdb, err = redisconn.Open(ctx, d.topology.direct()); err != nil {
		return nil, err
	}
	defer d.rdb.Close()
	d.router, d.accepted = lanes.NewRouter(d.rdb), load.NewFeed(d.histories(), "")
	if err := d.startProcesses(); err != nil {
		return nil, err
	}
	d.say("%s Redis, %d workers, %d producers, seed %d, %v", d.cfg.Topology, d.cfg.Workers, d.cfg.Producers, d.cfg.Seed, d.cfg.Duration)
	d.hurt(ctx)
	if err := d.drain(ctx); err != nil {
		return nil, err
	}
	return d.judge()
}

// quiet drops what go-redis says about a Redis that is away.
type quiet struct{}

// Printf drops it.
func (quiet) Printf(context.Context, string, ...any) {}

func (d *driver) startProcesses() error {
	add := func(role, name string) (*place, error) {
		p := &place{name: name, argv: d.cfg.Command, h: d.h, logs: filepath.Join(d.dir, "log")}
		if d.topology.kind == Alone {
			var err error
			if p.link, err = d.topology.proxies.open(name, d.topology.nodes[0].server.Addr()); err != nil {
				return nil, err
			}
		}
		p.spec = load.Spec{Role: role, Redis: d.topology.url(p.link), Dir: d.histories(), Seed: d.cfg.Seed, Load: d.cfg.Load, Drain: d.cfg.Drain}
		return p, p.start()
	}
	for i := range d.cfg.Workers {
		p, err := add("worker", fmt.Sprintf("w%d", i))
		if err != nil {
			return err
		}
		d.workers = append(d.workers, p)
	}
	for i := range d.cfg.Producers {
		p, err := add("producer", fmt.Sprintf("p%d", i))
		if err != nil {
			return err
		}
		d.producers = append(d.producers, p)
	}
	return nil
}

// hurt injects faults until the duration is over, and waits for the last ones.
func (d *driver) hurt(ctx context.Context) {
	during, cancel := context.WithTimeout(ctx, d.cfg.Duration)
	defer cancel()
	var faults sync.WaitGroup
	s := newSchedule(d.cfg)
	for {
		a := s.next()
		hold(during, a.gap)
		if during.Err() != nil {
			break
		}
		faults.Go(func() { d.inject(ctx, a) })
	}
	faults.Wait()
}

// drain lets everything that was accepted end, and writes down what became of it.
func (d *driver) drain(ctx context.Context) error {
	d.say("no more faults; waiting for what was accepted")
	deadline := time.Now().Add(d.cfg.Drain)
	var ends sync.WaitGroup
	for _, p := range d.producers {
		ends.Go(func() {
			// They stop to submit, and write down by themselves what does not end in time.
			if err := p.finish(d.cfg.Drain + 20*time.Second); err != nil {
				d.h.Write(history.Event{What: history.Died, Text: err.Error()})
			}
		})
	}
	ends.Wait()
	// From here on nobody waits for anything.
	if err := d.awaitAll(ctx, deadline); err != nil {
		return err
	}
	if err := d.audit(ctx); err != nil {
		return err
	}
	for _, p := range d.workers {
		ends.Go(func() {
			if err := p.finish(2*load.Grace + 10*time.Second); err != nil {
				d.h.Write(history.Event{What: history.Died, Text: err.Error()})
			}
		})
	}
	ends.Wait()
	return nil
}

// killAll ends what still runs, after a run that broke off.
func (d *driver) killAll() {
	for _, p := range slices.Concat(d.workers, d.producers) {
		if p.current() != "" {
			<-p.signal(syscall.SIGKILL, true).ended
		}
	}
}

// judge checks the histories.
func (d *driver) judge() (*Summary, error) {
	events, err := history.Load(d.histories())
	if err != nil {
		return nil, err
	}
	return &Summary{Config: d.cfg, Report: history.Check(events, history.Rules{})}, nil
}
