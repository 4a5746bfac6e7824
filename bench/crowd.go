package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	registry "github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/supervise"
	"github.com/distpool/distpool/worker"
)

// crowd is a queue in which single calls wait, as the producer submits them. No worker serves it.
type crowd struct {
	*growth
	size    int
	waiting []string // names of their jobs
}

// queued prices what is done to a queue, when 100 calls wait and when many do.
func (m *growth) queued(ctx context.Context) error {
	c := &crowd{growth: m}
	for _, size := range []int{100, m.waiting} {
		if err := c.fill(ctx, size); err != nil {
			return err
		}
		if err := c.prices(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fill makes calls wait until there are so many.
func (c *crowd) fill(ctx context.Context, size int) error {
	if err := c.rdb.SAdd(ctx, "asynq:queues", worker.DefaultQueue).Err(); err != nil {
		return err
	}
	c.size = size
	for len(c.waiting) < size {
		if err := c.submit(ctx, min(64, size-len(c.waiting))); err != nil {
			return err
		}
	}
	return nil
}

// submit makes n more calls wait.
func (c *crowd) submit(ctx context.Context, n int) error {
	entries := make([]job.Submission, n)
	for i := range entries {
		d := job.Delivery{Ref: job.Ref{Name: rand.Text()}, Number: 1}
		c.waiting = append(c.waiting, d.Name)
		entries[i] = job.New(
			job.Job{Ref: d.Ref, About: "1 " + square, Pool: "ABCDEFGHIJKLMNOP", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Hour},
			[]job.Chunk{{Args: []byte("0 1\n[7]"), TaskID: d.TaskID(), Message: job.Message(worker.DefaultQueue, square, d, "", time.Time{})}})
	}
	_, err := job.Submit(ctx, c.rdb, worker.DefaultQueue, entries)
	return err
}

// anyone draws a call that waits, and removes it from the list.
func (c *crowd) anyone() string {
	i, last := mathrand.IntN(len(c.waiting)), len(c.waiting)-1
	name := c.waiting[i]
	c.waiting[i] = c.waiting[last]
	c.waiting = c.waiting[:last]
	return name
}

// prices measures everything at the size that there is.
func (c *crowd) prices(ctx context.Context) error {
	in, tools := inspect.New(c.rdb), asynq.NewInspectorFromRedisClient(c.rdb)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	member := registry.New(c.rdb, registry.Worker{ID: "supervisor"}, log)
	super := supervise.New(supervise.Config{
		Redis: c.rdb, Fleet: member, KeepArchived: 10_000, ArchivedFor: time.Hour, Logger: log,
		Lanes: func(context.Context) ([]string, error) { return []string{worker.DefaultQueue}, nil },
	})
	for _, op := range []struct {
		what string
		n    int
		do   func() error
	}{
		{"submit a call, take it and record its value", 1000, func() error { return c.through(ctx) }},
		{"submit a call, cancel any one", 300, func() error {
			if err := c.submit(ctx, 1); err != nil {
				return err
			}
			_, err := in.CancelAndWithdraw(ctx, names.Address{Queue: worker.DefaultQueue, Name: c.anyone()}.String())
			return err
		}},
		{"count: distpool queues, the queues page", 100, func() error { return c.counted(ctx, in) }},
		{"one job: distpool job, its page", 100, func() error {
			_, err := in.Job(ctx, names.Address{Queue: worker.DefaultQueue, Name: c.waiting[mathrand.IntN(len(c.waiting))]}.String(), 400)
			return err
		}},
		{"a page of asynqmon in the middle", 100, func() error {
			_, err := tools.ListPendingTasks(worker.DefaultQueue, asynq.PageSize(20), asynq.Page(1+c.size/40))
			return err
		}},
		{"a supervisor's pass", 100, func() error { return super.Pass(ctx) }},
		{"a pool looks for one call's delivery", 100, func() error {
			_, err := supervise.Revive(ctx, c.rdb, nil, worker.DefaultQueue, job.Ref{Name: c.waiting[mathrand.IntN(len(c.waiting))]}, 1)
			return err
		}},
	} {
		err := c.price(ctx, "waiting", op.what, c.size, op.n, func() error {
			for range op.n {
				if err := op.do(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// through has a call submitted, and the call that waits for the longest taken and recorded.
func (c *crowd) through(ctx context.Context) error {
	if err := c.submit(ctx, 1); err != nil {
		return err
	}
	taken, err := job.Take(ctx, c.rdb, worker.DefaultQueue, job.Taking{Worker: "w", Most: 1, Room: 1 << 20, Now: time.Now()})
	if err != nil || len(taken) != 1 {
		return fmt.Errorf("%d deliveries were taken: %w", len(taken), err)
	}
	_, err = job.Finish(ctx, c.rdb, worker.DefaultQueue, job.Finishing{Worker: "w", Inline: 8192, Now: time.Now()},
		[]job.Finished{job.Record(taken[0].Delivery, job.Outcomes{Frame: []byte("0 1 0\n[49]"), Calls: 1})})
	for i, name := range c.waiting[:min(len(c.waiting), 2000)] { // it is among the oldest
		if name == taken[0].Name {
			c.waiting[i] = c.waiting[len(c.waiting)-1]
			c.waiting = c.waiting[:len(c.waiting)-1]
			break
		}
	}
	return err
}

// counted has all queues counted.
func (c *crowd) counted(ctx context.Context, in *inspect.Inspector) error {
	queues, err := in.Queues(ctx)
	if err == nil && (len(queues) != 1 || queues[0].Pending != len(c.waiting)) {
		err = fmt.Errorf("the queues are %+v, want one with %d calls", queues, len(c.waiting))
	}
	return err
}
