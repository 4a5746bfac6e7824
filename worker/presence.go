package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// A worker counts as dead when it was not heard for lifetime. Several beats may
// get lost or late on a busy machine before that.
const (
	beatEvery = 1500 * time.Millisecond
	lifetime  = 5 * time.Second
	// Every so many beats the description is sent again.
	describeEvery = 20
	// Every so many beats the worker reads what it was asked.
	answerEvery = 2
)

func (w *worker) beat(ctx context.Context, full bool, held []record.HeldSlot) error {
	ctx, cancel := context.WithTimeout(ctx, lifetime)
	defer cancel()
	self := w.self
	self.Held = held
	known, err := record.Beat(ctx, w.rdb, self, lifetime, full)
	if err == nil && !known {
		_, err = record.Beat(ctx, w.rdb, self, lifetime, true)
	}
	return err
}

// keepBeating says that the worker is alive, until ctx ends.
func (w *worker) keepBeating(ctx context.Context) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	healthy := true
	w.pulse.next(0, 0, 0, 0) // what happens before the first beat counts, too
	var published []record.HeldSlot
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		began := time.Now()
		held := w.waits.lasting()
		full := n%describeEvery == 0 || !healthy || !slices.EqualFunc(held, published, sameHeld)
		err := w.beat(ctx, full, held)
		if ctx.Err() != nil {
			return
		}
		if err != nil && healthy {
			w.log.Warn("Redis does not take this worker's heartbeat; will keep trying", "error", err)
		} else if err == nil && !healthy {
			w.log.Warn("Redis takes this worker's heartbeat again")
		}
		healthy = err == nil
		if !healthy || time.Since(began) > beatEvery {
			w.troubled.Store(time.Now().UnixNano())
		}
		if healthy {
			published = held
			w.report(ctx)
			w.checkJobs(ctx)
			if n%answerEvery == 0 {
				w.answer(ctx)
			}
			w.reclaim(ctx)
			w.breakJams(ctx, held)
		}
	}
}

func sameHeld(a, b record.HeldSlot) bool {
	return a.Job == b.Job && a.Chunk == b.Chunk && slices.Equal(a.Waits, b.Waits)
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
		if time.Since(r.started) > beatEvery {
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

// answer releases chunks that the record says this worker holds, and that it does
// not run: somebody asked for them.
func (w *worker) answer(ctx context.Context) {
	asked, err := record.Asked(ctx, w.rdb, w.self.ID)
	if err != nil {
		w.log.Debug("reading what this worker was asked failed", "error", err)
	}
	for _, ref := range asked {
		if f := w.bell.fetcher; f != nil { // it may have begun the chunk, and not run it yet
			f.ifAbsent(ref, func() { w.release(ctx, ref) })
		} else {
			w.release(ctx, ref)
		}
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
