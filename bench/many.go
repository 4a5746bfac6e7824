package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	registry "github.com/distpool/distpool/internal/fleet"
)

// workersOfOne is how many workers share a process, where processes do not fit.
const workersOfOne = 250

// manyLine is what idle workers cost Redis, all of them together.
type manyLine struct {
	Part     string             `json:"part"`
	Workers  int                `json:"workers"`
	Commands float64            `json:"commands_per_s"`
	CPU      float64            `json:"redis_cpu_pct"`  // of a core
	US       float64            `json:"redis_us_per_s"` // of each worker
	KeysMB   float64            `json:"redis_mb"`       // without its clients
	Clients  float64            `json:"redis_clients_mb"`
	Conns    float64            `json:"connections"`
	Kinds    map[string]float64 `json:"by_command_per_s"`
}

// idle watches workers that have nothing to do, and asks for their slots as a producer does.
func (m *growth) idle(ctx context.Context) (err error) {
	m.s.conc = 10
	var started []*workerProcess
	defer func() {
		for _, w := range started {
			err = errors.Join(err, w.stop())
		}
	}()
	for n := 0; n < m.workers; n += m.s.count {
		m.s.count = min(workersOfOne, m.workers-n)
		w, err := startWorker(ctx, m.s)
		if err != nil {
			return err
		}
		started = append(started, w)
	}
	for began := time.Now(); ; {
		live, err := registry.Workers(ctx, m.rdb)
		if err != nil {
			return err
		}
		if len(live) == m.workers {
			break
		}
		if time.Since(began) > 2*time.Minute {
			return fmt.Errorf("%d of %d workers live after two minutes", len(live), m.workers)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	if err := pause(ctx, 10*time.Second); err != nil { // all kinds of beats have begun
		return err
	}
	l := manyLine{Part: "idle", Workers: m.workers, Kinds: map[string]float64{}}
	if err := m.rdb.ConfigResetStat(ctx).Err(); err != nil {
		return err
	}
	quiet, err := watchRedis(ctx, m.rdb, m.watch)
	if err != nil {
		return err
	}
	l.Commands, l.CPU, l.US = rounded(quiet.commands, 1), rounded(quiet.cpu, 2), rounded(quiet.cpu*1e4/float64(m.workers), 1)
	if err := m.kinds(ctx, l.Kinds, quiet.took); err != nil {
		return err
	}
	u, err := usageOf(ctx, m.rdb)
	if err != nil {
		return err
	}
	clients, err := infoOf(ctx, m.rdb, "clients")
	if err != nil {
		return err
	}
	if l.Conns, err = clients.number("connected_clients"); err != nil {
		return err
	}
	l.KeysMB, l.Clients = rounded(float64(u.memory)/(1<<20), 2), rounded(float64(u.clients)/(1<<20), 2)
	if err := m.out.Encode(l); err != nil {
		return err
	}
	return m.slots(ctx)
}

// kinds reads how often each command ran, a second.
func (m *growth) kinds(ctx context.Context, kinds map[string]float64, took time.Duration) error {
	stats, err := infoOf(ctx, m.rdb, "commandstats")
	if err != nil {
		return err
	}
	for name, text := range stats {
		var n int
		if _, err := fmt.Sscanf(text, "calls=%d", &n); err == nil && float64(n) > took.Seconds() {
			kinds[name[len("cmdstat_"):]] = rounded(float64(n)/took.Seconds(), 1)
		}
	}
	return nil
}

// slots asks for the slots of all workers, as a pool does once a second at the most.
func (m *growth) slots(ctx context.Context) error {
	const asked = 100
	want := m.workers * m.s.conc
	return m.price(ctx, "idle", "a pool asks for the slots", m.workers, asked, func() error {
		for range asked {
			n, err := registry.NewView(m.rdb).Slots(ctx, "distpool")
			if err != nil {
				return err
			}
			if n != want {
				return fmt.Errorf("there are %d slots, want %d", n, want)
			}
		}
		return nil
	})
}
