package worker

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// keepBeating says that the worker is alive, until ctx ends.
func (w *worker) keepBeating(ctx context.Context) {
	deadlocks := w.detector()
	w.member.Run(ctx, fleet.Duties{
		Held: w.waits.Lasting,
		Counts: func() fleet.Counts {
			return fleet.Counts{Busy: len(w.slots), Calls: w.ran.Load(), Failed: w.failures.Load(), Took: time.Duration(w.busyTime.Load())}
		},
		Answer: w.answer,
		Then: func(ctx context.Context, held []nested.HeldSlot) {
			w.checkJobs(ctx)
			w.reclaim(ctx)
			deadlocks.Look(ctx, held)
		},
	})
}

// listen hears of jobs that ended before their time, and cancels their calls.
func (w *worker) listen(ctx context.Context) {
	sub := w.rdb.Subscribe(ctx, record.Control)
	defer func() { _ = sub.Close() }()
	messages := sub.Channel(redis.WithChannelHealthCheckInterval(10 * time.Second))
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			w.cancelJob(record.ParseRef(m.Payload))
		}
	}
}

// checkJobs asks whether the jobs of calls that run long are still alive, for
// announcements can get lost.
func (w *worker) checkJobs(ctx context.Context) {
	w.mu.Lock()
	jobs := map[record.Ref]bool{}
	for k, r := range w.running {
		if time.Since(r.started) > fleet.BeatEvery {
			jobs[k.job] = true
		}
	}
	w.mu.Unlock()
	if len(jobs) == 0 {
		return
	}
	cmds := map[record.Ref]*redis.StringCmd{}
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for job := range jobs {
			cmds[job] = record.QueueState(ctx, p, job.ID)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return
	}
	for job, cmd := range cmds {
		if state, err := record.ParseState(cmd); err == nil && state.Ended() {
			w.cancelJob(job)
		}
	}
}

// answer releases a chunk that the record says this worker holds, if it does not run it.
func (w *worker) answer(ctx context.Context, q fleet.Question) {
	ref := record.ChunkRef{Job: record.Ref{ID: q.Job, Gen: q.Gen}, Chunk: q.Chunk}
	if f := w.bell.fetcher; f != nil { // it may have begun the chunk, and not run it yet
		f.ifAbsent(ref, func() { w.release(ctx, ref) })
	} else {
		w.release(ctx, ref)
	}
}

// release releases a chunk, unless it runs here.
func (w *worker) release(ctx context.Context, ref record.ChunkRef) {
	// In the place of a run, so that none begins meanwhile.
	r := &chunkRun{delivery: wire.Delivery{Job: ref.Job.ID, Gen: ref.Job.Gen, Chunk: ref.Chunk}, started: time.Now()}
	if !w.enlist(r) {
		return // it runs
	}
	released, err := record.Release(ctx, w.rdb, ref.Job, ref.Chunk, w.self.ID, nil, 0)
	w.discharge(r)
	if err == nil && released {
		w.log.Warn("a chunk that this worker does not run was still recorded as its own; it is released", "job", ref.Job.ID, "chunk", ref.Chunk)
	}
}

// reclaim gives back what this worker has fetched without knowing it.
func (w *worker) reclaim(ctx context.Context) {
	if w.bell.fetcher == nil {
		return
	}
	if err := w.bell.fetcher.reclaim(ctx); err != nil {
		w.log.Debug("looking for deliveries whose fetch was not answered failed", "error", err)
	}
}

// cancelJob cancels the contexts of the job's running calls.
func (w *worker) cancelJob(job record.Ref) {
	if w.bell.fetcher != nil {
		w.bell.fetcher.forgetJob(job)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, r := range w.running {
		if k.job == job {
			r.cancel(errJobEnded)
		}
	}
}
