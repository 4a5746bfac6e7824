package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
)

// Workers lists the live workers, by their IDs, in two round trips.
func (in *Inspector) Workers(ctx context.Context) ([]fleet.LiveWorker, error) {
	ws, err := fleet.LiveWorkers(ctx, in.rdb)
	if err != nil {
		return nil, fmt.Errorf("reading the registry of workers: %w", err)
	}
	slices.SortFunc(ws, func(a, b fleet.LiveWorker) int { return cmp.Compare(a.ID, b.ID) })
	return ws, nil
}

// Queue is a queue as asynq sees it, all of its lanes together.
type Queue struct {
	Name      string
	Paused    bool
	Pending   int           // deliveries that wait
	Active    int           // that workers have taken
	Scheduled int           // for later
	Retry     int           // waiting for another attempt, or for a worker
	Archived  int           // with failed calls; for operators to look at
	Processed int           // today, UTC
	Failed    int           // of these
	Latency   time.Duration // how long the oldest delivery that waits has waited
	Workers   int           // live workers that serve it
	Slots     int           // of these
}

// Queues lists the queues that asynq or a worker knows, by name.
func (in *Inspector) Queues(ctx context.Context) ([]Queue, error) {
	workers, err := in.Workers(ctx)
	if err != nil {
		return nil, err
	}
	found, err := in.asynq.Queues()
	if err != nil {
		return nil, fmt.Errorf("listing the queues: %w", err)
	}
	byName := map[string]*Queue{}
	queue := func(name string) *Queue {
		if byName[name] == nil {
			byName[name] = &Queue{Name: name}
		}
		return byName[name]
	}
	for _, w := range workers {
		for name := range w.Queues {
			queue(name).Workers++
			queue(name).Slots += w.Concurrency
		}
	}
	if ctx.Err() != nil { // asynq's inspector takes no context
		return nil, context.Cause(ctx)
	}
	infos, err := QueueInfos(in.asynq, found)
	if err != nil {
		return nil, err
	}
	for name, info := range infos {
		q := queue(name)
		q.Paused, q.Pending, q.Active, q.Scheduled = info.Paused, info.Pending, info.Active, info.Scheduled
		q.Retry, q.Archived, q.Processed, q.Failed = info.Retry, info.Archived, info.Processed, info.Failed
		q.Latency = info.Latency
	}
	queues := make([]Queue, 0, len(byName))
	for _, q := range byName {
		queues = append(queues, *q)
	}
	slices.SortFunc(queues, func(a, b Queue) int { return cmp.Compare(a.Name, b.Name) })
	return queues, nil
}

// maxAsked is how many queues are asked about at the same time.
const maxAsked = 16

// QueueInfos asks asynq about lanes that it knows, and adds up those of each queue. It asks at the
// same time: one after the other, many queues and a distant Redis take seconds.
func QueueInfos(in *asynq.Inspector, lanes []string) (map[string]*asynq.QueueInfo, error) {
	infos, errs := make([]*asynq.QueueInfo, len(lanes)), make([]error, len(lanes))
	var all sync.WaitGroup
	free := make(chan struct{}, maxAsked)
	for i, lane := range lanes {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			infos[i], errs[i] = in.GetQueueInfo(lane)
		})
	}
	all.Wait()
	byQueue := make(map[string]*asynq.QueueInfo, len(lanes))
	for i, lane := range lanes {
		if errs[i] != nil {
			return nil, fmt.Errorf("reading queue %q: %w", lane, errs[i])
		}
		name := job.QueueOf(lane)
		if byQueue[name] == nil {
			byQueue[name] = &asynq.QueueInfo{Queue: name}
		}
		add(byQueue[name], infos[i])
	}
	return byQueue, nil
}

// add adds one lane to its queue. A queue with a lane that is paused is paused.
func add(q, lane *asynq.QueueInfo) {
	q.Paused = q.Paused || lane.Paused
	q.Pending += lane.Pending
	q.Active += lane.Active
	q.Scheduled += lane.Scheduled
	q.Retry += lane.Retry
	q.Archived += lane.Archived
	q.Completed += lane.Completed
	q.Processed += lane.Processed
	q.Failed += lane.Failed
	q.MemoryUsage += lane.MemoryUsage
	q.Latency = max(q.Latency, lane.Latency)
}

// Pause stops deliveries from being taken from the queue; what runs goes on.
// Pausing twice is fine. A queue that has never had a job is an error.
func (in *Inspector) Pause(ctx context.Context, queue string) error {
	return in.eachLane(ctx, queue, func(lane string, paused bool) error {
		if paused {
			return nil
		}
		return in.asynq.PauseQueue(lane)
	})
}

// Resume undoes Pause. Idle workers take what waits within a second.
func (in *Inspector) Resume(ctx context.Context, queue string) error {
	return in.eachLane(ctx, queue, func(lane string, paused bool) error {
		if !paused {
			return nil
		}
		return in.asynq.UnpauseQueue(lane)
	})
}

// Lane is one of asynq's queues that are a queue on a Cluster.
type Lane struct {
	Name   string
	New    bool   // new jobs use it; the others are there for those that they have
	Master string // its address; empty on anything but a Cluster
}

// Lanes lists the lanes of a queue.
func (in *Inspector) Lanes(ctx context.Context, queue string) ([]Lane, error) {
	if err := names.CheckQueue(queue); err != nil {
		return nil, err
	}
	all, err := in.router.Lanes(ctx, queue)
	if err != nil {
		return nil, err
	}
	used, err := in.router.New(ctx, queue)
	if err != nil {
		return nil, err
	}
	lanes := make([]Lane, len(all))
	for i, name := range all {
		lanes[i] = Lane{Name: name, New: slices.Contains(used, name)}
		if cluster, ok := in.rdb.(*redis.ClusterClient); ok {
			master, err := cluster.MasterForKey(ctx, job.Prefix(name))
			if err != nil {
				return nil, fmt.Errorf("looking for the master of lane %q: %w", name, err)
			}
			lanes[i].Master = master.Options().Addr
		}
	}
	return lanes, nil
}

// SetLanes gives new jobs of the queue n lanes, half a minute from now. A lower number is an error
// while a lane that would go has deliveries, and so is any number on anything but a Cluster.
func (in *Inspector) SetLanes(ctx context.Context, queue string, n int) error {
	if err := names.CheckQueue(queue); err != nil {
		return err
	}
	return in.router.SetLanes(ctx, queue, n)
}

// eachLane calls f with each lane of the queue, also with those that never had a job.
func (in *Inspector) eachLane(ctx context.Context, queue string, f func(lane string, paused bool) error) error {
	if err := names.CheckQueue(queue); err != nil {
		return err
	}
	known, err := in.asynq.Queues()
	if err != nil {
		return fmt.Errorf("listing the queues: %w", err)
	}
	if !slices.ContainsFunc(known, func(lane string) bool { return job.QueueOf(lane) == queue }) {
		return fmt.Errorf("queue %q has never had a job; distpool queues lists those that had", queue)
	}
	lanes, err := in.router.Lanes(ctx, queue)
	if err != nil {
		return err
	}
	for _, lane := range lanes {
		paused, err := in.rdb.Exists(ctx, asynqfmt.PausedKey(lane)).Result()
		if err == nil {
			err = f(lane, paused == 1)
		}
		if err != nil {
			return fmt.Errorf("queue %q: %w", lane, err)
		}
	}
	return nil
}
