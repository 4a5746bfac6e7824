package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// memoryLine is what W4 and its kin print.
type memoryLine struct {
	W      string  `json:"w"`
	N      int     `json:"n"`
	MemPer float64 `json:"mem_per"` // bytes of Redis for each call
}

// leftLine is what W4-left prints.
type leftLine struct {
	memoryLine
	Keys int64 `json:"keys"` // more than before
}

// memoryStage is what the memory is measured of.
type memoryStage int

const (
	ofQueuedCalls memoryStage = iota
	ofQueuedMap
	ofStoredValues
	ofNothing
)

// memoryOf makes the workload that queues calls while no worker runs, lets a
// worker of its own run them, checks their values and forgets them. stage is the
// point at which the memory counts; the rest is done all the same, so that the
// values are checked and the next measurement starts with a clean Redis.
func memoryOf(stage memoryStage) func(context.Context, system, settings) (any, error) {
	return func(ctx context.Context, sys system, s settings) (line any, err error) {
		rdb := dial(s)
		defer rdb.Close()
		// A first call creates what stays for ever, such as asynq's set of queues and
		// the scripts.
		if err := throughOnce(ctx, sys, s); err != nil {
			return nil, err
		}
		before, keysBefore, err := settledMemory(ctx, rdb)
		if err != nil {
			return nil, err
		}
		var at [ofNothing + 1]int64
		err = within(ctx, sys, s, func(c client) error {
			calls, err := queueAll(ctx, c, stage, s)
			if err != nil {
				return err
			}
			if at[ofQueuedCalls], _, err = settledMemory(ctx, rdb); err != nil {
				return err
			}
			for _, call := range calls {
				if call.ready() {
					return errors.New("a call ran although no worker should; stop the workers and clean the queue first")
				}
			}
			if err := withWorker(ctx, sys, s, func() error { return checkAll(ctx, calls) }); err != nil {
				return err
			}
			if at[ofStoredValues], _, err = settledMemory(ctx, rdb); err != nil {
				return err
			}
			return spread(ctx, len(calls), s.g, func(ctx context.Context, lo, hi int) error {
				for _, call := range calls[lo:hi] {
					if err := call.forget(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
		keys := int64(0)
		if at[ofNothing], keys, err = settledMemory(ctx, rdb); err != nil {
			return nil, err
		}
		at[ofQueuedMap] = at[ofQueuedCalls]
		l := memoryLine{s.w, s.n, rounded(float64(at[stage]-before)/float64(s.n), 2)}
		if stage == ofNothing {
			return leftLine{l, keys - keysBefore}, nil
		}
		return l, nil
	}
}

// checkable is what is queued: a call or a map, with its check.
type checkable interface {
	check(ctx context.Context) error
	ready() bool
	forget(ctx context.Context) error
}

type queuedCall struct {
	pending[int]
	arg int
}

func (q queuedCall) check(ctx context.Context) error {
	v, err := q.get(ctx)
	if err != nil {
		return err
	}
	return checkSquare(v, q.arg)
}

type queuedMap struct {
	pending[[]int]
	n int
}

func (q queuedMap) check(ctx context.Context) error {
	values, err := q.get(ctx)
	if err != nil {
		return err
	}
	return checkSquares(values, q.n)
}

func checkAll(ctx context.Context, calls []checkable) error {
	for _, call := range calls {
		if err := call.check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// queueAll submits s.n calls, as single ones or as one map.
func queueAll(ctx context.Context, c client, stage memoryStage, s settings) ([]checkable, error) {
	if stage == ofQueuedMap {
		m, err := c.mapAsync(ctx, square, numbers(s.n), s.chunk)
		if err != nil {
			return nil, err
		}
		return []checkable{queuedMap{m, s.n}}, nil
	}
	calls, err := submitAll(ctx, c, square, s.n, s.g)
	if err != nil {
		return nil, err
	}
	queued := make([]checkable, len(calls))
	for i, call := range calls {
		queued[i] = queuedCall{call, i}
	}
	return queued, nil
}

// throughOnce sends one call through a worker of its own.
func throughOnce(ctx context.Context, sys system, s settings) error {
	return within(ctx, sys, s, func(c client) error {
		call, err := c.applyAsync(ctx, square, 7)
		if err != nil {
			return err
		}
		check := func() error { return queuedCall{call, 7}.check(ctx) }
		if err := withWorker(ctx, sys, s, check); err != nil {
			return err
		}
		return call.forget(ctx)
	})
}

// withWorker runs a worker in this process while do runs.
func withWorker(ctx context.Context, sys system, s settings, do func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	s.queues = 1
	go func() { ended <- sys.work(ctx, s) }()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-ended:
		return fmt.Errorf("the worker ended early: %w", err)
	case err := <-done:
		stop()
		return errors.Join(err, <-ended)
	}
}

// settledMemory reads how much memory Redis uses, without the buffers of its
// clients, and the number of its keys, once two readings in a row agree: Redis
// frees and resizes tables in the background.
func settledMemory(ctx context.Context, rdb redis.UniversalClient) (bytes, keys int64, err error) {
	last := int64(-1)
	for range 50 {
		u, err := usageOf(ctx, rdb)
		if err != nil {
			return 0, 0, err
		}
		if diff := u.memory - last; last >= 0 && diff < 2048 && diff > -2048 {
			break
		}
		last = u.memory
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
	u, err := usageOf(ctx, rdb)
	if err != nil {
		return 0, 0, err
	}
	keys, err = rdb.DBSize(ctx).Result()
	return u.memory, keys, err
}
