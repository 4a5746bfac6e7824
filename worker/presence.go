package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/listen"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/nested"
)

const (
	// dutyTime bounds what is done with a heartbeat: the next one must not be late because a
	// server does not answer.
	dutyTime = time.Second
	// nameEvery is how many heartbeats go by between two that name the queues to asynq.
	nameEvery = 10
	// nameTime bounds naming them.
	nameTime = 5 * time.Second
	// A worker that runs something is listed with asynq's servers anew with every listEvery-th
	// heartbeat, one that does not with every idleEvery-th.
	listEvery, idleEvery = 3, 6
	// listedFor is how long asynq lists it after that.
	listedFor = 20 * time.Second
	// hearAgain is the time between two looks for new lanes.
	hearAgain = 5 * time.Second
	// hearSilence is how long a subscription may be silent before it is asked whether it stands. An
	// idle worker sends few commands; what it does not hear of it learns with its next beat.
	hearSilence = 10 * time.Second
)

// join makes the worker known, before it takes its first delivery.
func (w *worker) join(ctx context.Context) error {
	if err := w.member.Join(ctx); err != nil {
		return err
	}
	for name := range w.cfg.Queues {
		lanes, err := w.router.Lanes(ctx, name)
		if err != nil {
			return err
		}
		w.joined = append(w.joined, lanes...)
	}
	return w.nameQueues(ctx)
}

// lanes are the lanes of the worker's queues, as far as they are known.
func (w *worker) lanes() []string {
	lanes := slices.Concat(w.joined, w.consumer.Lanes())
	slices.Sort(lanes)
	return slices.Compact(lanes)
}

// leave takes the worker off the registry, and out of its office.
func (w *worker) leave(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := w.member.Resign(ctx); err != nil {
		w.log.Warn("handing the supervision over failed; it ends by itself", "error", err)
	}
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		w.server().Clear(ctx, p)
		return nil
	})
	if err != nil {
		w.log.Debug("leaving asynq's list of servers failed; it forgets this worker by itself", "error", err)
	}
	if err := w.member.Leave(ctx); err != nil {
		w.log.Warn("leaving the registry of workers failed; it forgets this worker by itself", "error", err)
	}
}

// keepBeating says that the worker is alive, until ctx ends.
func (w *worker) keepBeating(ctx context.Context) {
	deadlocks := w.detector()
	listed := false // asynq lists what it runs
	n := 0
	w.member.Run(ctx, fleet.Duties{
		Held: w.executor.Waits.Lasting,
		Counts: func() fleet.Counts {
			return fleet.Counts{Busy: w.handler.Busy(), Calls: w.ran.Load(), Failed: w.failures.Load(), Took: time.Duration(w.busyTime.Load())}
		},
		Answer: w.answer,
		Then: func(ctx context.Context, held []nested.HeldSlot) {
			w.handler.Check(ctx, fleet.BeatEvery, dutyTime)
			running := w.handler.Running()
			if n%idleEvery == 0 || n%listEvery == 0 && (listed || len(running) > 0) {
				listed = len(running) > 0
				w.list(ctx, running)
			}
			if n%nameEvery == 0 {
				if err := w.nameQueues(ctx); err != nil {
					w.log.Debug("naming the queues to asynq failed", "error", err)
				}
			}
			n++
			deadlocks.Look(ctx, held)
		},
	})
}

// list has asynq list the worker, and what it runs, for people. An asynq.Server lists itself.
func (w *worker) list(ctx context.Context, running []asynqfmt.Running) {
	if w.hosted != nil {
		return
	}
	s := w.server()
	if s.Running = running; w.serving.Err() != nil {
		s.Status = "stopped"
	}
	ctx, cancel := context.WithTimeout(ctx, dutyTime)
	defer cancel()
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		s.Write(ctx, p, time.Now(), listedFor)
		return nil
	})
	if err != nil {
		w.log.Debug("listing this worker with asynq's servers failed", "error", err)
	}
}

// server is the worker as asynq lists it.
func (w *worker) server() asynqfmt.Server {
	return asynqfmt.Server{
		Host: w.self.Host, PID: w.self.PID, ID: w.self.ID, Concurrency: w.cfg.Concurrency, Queues: w.weights(),
		Strict: w.cfg.StrictPriority, Status: "active", Started: w.self.Started,
	}
}

// weights are the weights of the worker's lanes.
func (w *worker) weights() map[string]int {
	weights := map[string]int{}
	for _, lane := range w.lanes() {
		weights[lane] = w.cfg.Queues[job.QueueOf(lane)]
	}
	return weights
}

// nameQueues names the worker's queues to asynq's tools, which may have been made to forget them.
func (w *worker) nameQueues(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	var queues []any
	for _, lane := range w.lanes() {
		queues = append(queues, lane)
	}
	return w.rdb.SAdd(ctx, asynqfmt.QueuesKey, queues...).Err()
}

// allLanes are the lanes of all queues, for the supervision.
func (w *worker) allLanes(ctx context.Context) ([]string, error) {
	lanes, err := w.rdb.SMembers(ctx, asynqfmt.QueuesKey).Result()
	if err != nil {
		return nil, err
	}
	lanes = append(lanes, w.lanes()...)
	slices.Sort(lanes)
	return slices.Compact(lanes), nil
}

// answer gives a chunk back that the record says this worker holds, if it does not run it.
func (w *worker) answer(ctx context.Context, q fleet.Question) {
	if w.consumer.Holds(q.Lane, q.TaskID()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dutyTime)
	defer cancel()
	s, err := job.Read(ctx, w.rdb, q.Lane, q.Name)
	if err != nil || s.State.Ended() {
		return
	}
	again := q.Delivery
	again.Number++
	answers, err := job.ReissueAll(ctx, w.rdb, q.Lane, job.Reissue{Delivery: again, Task: s.About.Task, Owner: w.self.ID, Old: q.TaskID()})
	if err == nil && answers[0] == job.Reissued {
		w.log.Warn("a chunk that this worker does not run was still recorded as its own; it is issued again", "job", job.Address(q.Lane, q.Name), "chunk", q.Chunk)
	}
}

// hear hears of jobs that ended before their time, and of deliveries that an operator cancels with
// asynq's tools, until ctx ends. It cancels their calls and jobs.
func (w *worker) hear(ctx context.Context) {
	ends := listen.New(listen.Config{
		Redis: w.rdb, Silence: hearSilence,
		Message: func(channel, payload string) {
			name, gen, _ := strings.Cut(payload, " ")
			for _, lane := range w.lanes() {
				if job.ControlChannel(lane) == channel {
					w.handler.Ended(lane, job.Ref{Name: name, Gen: gen})
				}
			}
		},
		Refused: func(err error) {
			w.log.Debug("this user may not subscribe to the control channels of its queues; jobs that end are found by polling", "error", err)
		},
	})
	defer ends.Close()
	cancels := listen.New(listen.Config{
		Redis: w.rdb, Silence: hearSilence,
		Message: func(_, task string) { w.handler.Cancel(task, "its delivery was canceled with asynq's tools") },
		Refused: func(err error) {
			w.log.Warn("this user may not subscribe to asynq:cancel, so asynq's tools cannot cancel deliveries here; canceling jobs works without it", "error", err)
		},
	})
	defer cancels.Close()
	cancels.Add(asynqfmt.CancelChannel)
	for {
		for _, lane := range w.lanes() {
			ends.Add(job.ControlChannel(lane))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(hearAgain):
		}
	}
}

// detector makes what finds waits of this worker in deadlocks.
func (w *worker) detector() *nested.Detector {
	return &nested.Detector{
		Worker: w.self.ID, Waits: w.executor.Waits, Lifetime: fleet.Lifetime, Logger: w.log, Left: w.chunksLeft,
		Workers: func(ctx context.Context) ([]nested.Worker, error) {
			live, err := fleet.Workers(ctx, w.rdb)
			workers := make([]nested.Worker, len(live))
			for i, o := range live {
				workers[i] = nested.Worker{ID: o.ID, Slots: o.Concurrency, Held: o.Held, Runs: o}
			}
			return workers, err
		},
	}
}

// chunksLeft counts for each job the chunks without outcomes; 0 if it is over or not there.
func (w *worker) chunksLeft(ctx context.Context, jobs []string) (map[string]int, error) {
	left := make(map[string]int, len(jobs))
	for _, id := range jobs {
		a := names.SplitAddress(id)
		lane, err := w.router.Find(ctx, a.Queue, a.Name)
		if err != nil {
			return nil, fmt.Errorf("job %s: %w", id, err)
		}
		s, err := job.Read(ctx, w.rdb, lane, a.Name)
		switch {
		case err != nil && !job.IsDamaged(err):
			return nil, fmt.Errorf("job %s: %w", id, err)
		case err == nil && !s.State.Ended():
			left[id] = s.Chunks - s.Recorded
		}
	}
	return left, nil
}
