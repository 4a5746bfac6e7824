package main

import (
	"context"
	"time"
)

// callersLine is what W12 prints: calls that block their callers, and the processor time of
// everything that has a part in one.
type callersLine struct {
	speedLine
	ProdUS   float64 `json:"prod_us_per"`   // of the producer's process, us a call
	WorkerUS float64 `json:"worker_us_per"` // of all worker processes
	RedisUS  float64 `json:"redis_us_per"`  // of all servers
	AllUS    float64 `json:"all_us_per"`    // their sum
}

// runCallers runs blocking calls from s.g callers, of which each makes its next call when it
// has the value of the one before.
func runCallers(ctx context.Context, sys system, s settings) (line any, err error) {
	rdb := dial(s)
	defer rdb.Close()
	pids, err := workers(rdb)
	if err != nil {
		return nil, err
	}
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		if err := callers(ctx, c, min(2000, s.n), s.g); err != nil { // connections, heaps, caches
			return err
		}
		workBefore, err := cpuOf(pids)
		if err != nil {
			return err
		}
		before, err := usageOf(ctx, rdb)
		if err != nil {
			return err
		}
		watch := startWatch()
		if err := callers(ctx, c, s.n, s.g); err != nil {
			return err
		}
		speed := watch.line(s.w, s.n)
		after, err := usageOf(ctx, rdb)
		if err != nil {
			return err
		}
		work, err := cpuOf(pids)
		if err != nil {
			return err
		}
		per := func(d time.Duration) float64 { return rounded(d.Seconds()*1e6/float64(s.n), 2) }
		l := callersLine{speedLine: speed, ProdUS: rounded(speed.ProdCPU*1e6/float64(s.n), 2), WorkerUS: per(work - workBefore), RedisUS: per(after.cpu - before.cpu)}
		l.AllUS = rounded(l.ProdUS+l.WorkerUS+l.RedisUS, 2)
		line = l
		return nil
	})
	return line, err
}

func callers(ctx context.Context, c client, n, g int) error {
	return spread(ctx, n, g, func(ctx context.Context, lo, hi int) error {
		for i := lo; i < hi; i++ {
			v, err := c.apply(ctx, square, i)
			if err != nil {
				return err
			}
			if err := checkSquare(v, i); err != nil {
				return err
			}
		}
		return nil
	})
}
