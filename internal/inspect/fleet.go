package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/record"
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

// Queue is a queue as asynq sees it.
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
	for _, name := range found {
		byName[name] = &Queue{Name: name}
	}
	for _, w := range workers {
		for name := range w.Queues {
			if byName[name] == nil {
				byName[name] = &Queue{Name: name}
			}
			byName[name].Workers++
			byName[name].Slots += w.Concurrency
		}
	}
	if ctx.Err() != nil { // asynq's inspector takes no context
		return nil, context.Cause(ctx)
	}
	infos, err := QueueInfos(in.asynq, found)
	if err != nil {
		return nil, err
	}
	queues := make([]Queue, 0, len(byName))
	for name, q := range byName {
		queues = append(queues, *q)
		info := infos[name]
		if info == nil {
			continue // a worker serves it, and nothing was ever sent to it
		}
		q = &queues[len(queues)-1]
		q.Paused, q.Pending, q.Active, q.Scheduled = info.Paused, info.Pending, info.Active, info.Scheduled
		q.Retry, q.Archived, q.Processed, q.Failed = info.Retry, info.Archived, info.Processed, info.Failed
		q.Latency = info.Latency
	}
	slices.SortFunc(queues, func(a, b Queue) int { return cmp.Compare(a.Name, b.Name) })
	return queues, nil
}

// maxAsked is how many queues are asked about at the same time.
const maxAsked = 16

// QueueInfos asks asynq about queues that it knows, at the same time: one after the
// other, many queues and a distant Redis take seconds.
func QueueInfos(in *asynq.Inspector, queues []string) (map[string]*asynq.QueueInfo, error) {
	infos, errs := make([]*asynq.QueueInfo, len(queues)), make([]error, len(queues))
	var all sync.WaitGroup
	free := make(chan struct{}, maxAsked)
	for i, name := range queues {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			infos[i], errs[i] = in.GetQueueInfo(name)
		})
	}
	all.Wait()
	byName := make(map[string]*asynq.QueueInfo, len(queues))
	for i, name := range queues {
		if errs[i] != nil {
			return nil, fmt.Errorf("reading queue %q: %w", name, errs[i])
		}
		byName[name] = infos[i]
	}
	return byName, nil
}

// Pause stops deliveries from being taken from the queue; what runs goes on.
// Pausing twice is fine. A queue that has never had a job is an error.
func (in *Inspector) Pause(queue string) error {
	return in.setPaused(queue, true)
}

// Resume undoes Pause, and wakes idle workers for what waits.
func (in *Inspector) Resume(queue string) error {
	return in.setPaused(queue, false)
}

func (in *Inspector) setPaused(queue string, paused bool) error {
	if err := names.CheckQueue(queue); err != nil {
		return err
	}
	// asynq's own error for a queue that it does not know cannot be told from others.
	known, err := in.asynq.Queues()
	if err != nil {
		return fmt.Errorf("listing the queues: %w", err)
	}
	if !slices.Contains(known, queue) {
		return fmt.Errorf("queue %q has never had a job; distpool queues lists those that had", queue)
	}
	info, err := in.asynq.GetQueueInfo(queue)
	if err != nil {
		return fmt.Errorf("queue %q: %w", queue, err)
	}
	if info.Paused == paused {
		return nil
	}
	if paused {
		err = in.asynq.PauseQueue(queue)
	} else {
		err = in.asynq.UnpauseQueue(queue)
	}
	if err != nil {
		return fmt.Errorf("queue %q: %w", queue, err)
	}
	if !paused && info.Pending > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = record.Ring(queue, info.Pending).Run(ctx, in.rdb).Err() // without, they look within seconds
	}
	return nil
}
