package deliver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/sealing"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/observe"
)

const (
	// restFor is how long a lane that has deliveries for others rests here, on average: their workers
	// are idle and listen, or they are busy and take them whenever they have a slot. The more workers
	// there are that do not know the task, the longer each of them rests: restFor is for restWorkers
	// of them.
	restFor     = 25 * time.Millisecond
	restWorkers = 8
	// restBlind is that if the registry of workers cannot be read.
	restBlind = time.Second
)

// chunkRun is one delivery on this worker, and what package execute makes of its chunk, on the way
// from the record and back. It implements execute.Host.
type chunkRun struct {
	delivery
	protection
	run     *execute.Run
	started time.Time
	ctx     context.Context // of the calls
	cancel  context.CancelCauseFunc
	watched *observe.Chunk // as observers know it; nil: they do not
	twins   []*chunkRun    // other deliveries of the chunk, which are given back once this one has been dealt with; guarded by on.mu
}

// newRun makes the run of a delivery that was taken. over is called when the delivery has been dealt
// with, and tells an asynq.Server how it is to end.
func (h *Handler) newRun(lane string, t job.Taken, over func(error)) *chunkRun {
	r := &chunkRun{delivery: delivery{on: h, lane: lane, over: over}, started: time.Now()}
	r.about, r.unreadable = job.ParseAbout(t.About)
	r.chunk = execute.Chunk{
		Job: job.Address(lane, t.Name), Number: t.Chunk, Task: r.about.Task, Queue: job.QueueOf(lane), Codec: r.about.Codec, Policy: r.about.Policy, By: t.Number,
	}
	r.take(t)
	r.protection = protection{h.Signer, sealing.Frames{Job: signing.Ref{ID: r.chunk.Job, Gen: t.Gen}, Task: r.chunk.Task, Chunk: t.Chunk}}
	r.ctx, r.cancel = context.WithCancelCause(h.Calls)
	r.run = h.Executor.New(&r.chunk, r)
	return r
}

// take notes what Redis gave with the delivery.
func (r *chunkRun) take(t job.Taken) {
	r.Taken = t
	r.chunk.Total, r.chunk.Deaths, r.chunk.Args, r.chunk.Partial = t.Calls, sinceBlame(t.Deaths), t.Args, t.Part
}

// sinceBlame is how many workers died in a chunk since a call was given up for that: the count
// starts anew for the others.
func sinceBlame(deaths int) int {
	if deaths > 0 {
		deaths = (deaths-1)%Budget + 1
	}
	return deaths
}

// Serve deals with one delivery, in a slot of its own. It returns when the slot is free; over
// is called when the delivery has been dealt with, which may be later.
func (h *Handler) Serve(lane string, t job.Taken, over func()) {
	h.newRun(lane, t, func(error) { over() }).serve()
}

func (r *chunkRun) serve() {
	h := r.on
	h.busy.Add(1)
	defer h.busy.Add(-1)
	if !r.ready() {
		return
	}
	defer r.chunk.Pass.End()
	verdict := observe.Run
	if r.chunk.Deaths == Budget {
		verdict = observe.Lost
	}
	r.delivered(verdict)
	r.beginWatched()
	if r.execute() { // an abandoned call keeps its slot
		<-h.Executor.Serving.Done()
	}
}

// ready reports whether the chunk is to be run, now that it has the right to run, and is known as
// running. Otherwise the delivery is dealt with.
func (r *chunkRun) ready() bool {
	h := r.on
	if r.unreadable != nil {
		r.delivered(observe.Refused)
		r.condemn(r.unreadable)
		return false
	}
	if h.draining() {
		r.delivered(observe.Draining)
		r.giveUp(job.Head)
		return false
	}
	if _, ok := h.Executor.Tasks[r.chunk.Task]; !ok && r.turnAway() {
		return false
	}
	if r.Verdict == job.Alone {
		if !r.takeAlone() {
			return false
		}
	} else if r.chunk.Pass = h.Executor.TryShare(); r.chunk.Pass == nil {
		// Another chunk runs alone. If it ends this worker, that is not to be blamed on this
		// one: it does not wait here. The slot does, or it would take the next one.
		r.giveUp(job.Head)
		h.Executor.Share().End()
		return false
	}
	if !h.enlist(r) {
		// The chunk runs here by a delivery that supervision took for lost, since this worker
		// stood still.
		r.delivered(observe.Busy)
		r.chunk.Pass.End()
		return false
	}
	return true
}

// turnAway gives a delivery back whose task is not known here, but to another live worker of its
// queue. It reports false if there is none: then the calls fail.
func (r *chunkRun) turnAway() bool {
	h := r.on
	knowing, ignorant, err := h.elsewhere(r.chunk.Task, r.chunk.Queue)
	switch {
	case err != nil:
		r.log().Debug("asking for workers that know a task failed", "error", err)
		r.yield(restBlind)
	case knowing == 0:
		return false
	default:
		r.delivered(observe.Elsewhere)
		// Half as much more or less: workers must not throw each other their calls in step.
		rest := restFor * time.Duration(max(1, ignorant/restWorkers))
		r.yield(rest/2 + rand.N(rest))
	}
	r.giveUp(job.Tail)
	return true
}

// elsewhere counts the live workers of the queue that know the task, and those that do not, this
// one among them. That none knows it is only believed of a registry that was just read: calls fail
// by it.
func (h *Handler) elsewhere(task, queue string) (knowing, ignorant int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	for _, read := range []func(context.Context) ([]fleet.Worker, error){h.fleet.Workers, h.fleet.WorkersNow} {
		workers, err := read(ctx)
		if err != nil {
			return 0, 0, err
		}
		knowing, ignorant = 0, 0
		for _, o := range workers {
			switch {
			case !o.Serves(queue):
			case o.ID != h.Executor.Worker && o.Knows(task):
				knowing++
			default:
				ignorant++
			}
		}
		if knowing > 0 {
			break
		}
	}
	return knowing, ignorant, nil
}

// takeAlone waits until nothing else runs here and all outcomes are recorded, and then takes the
// chunk, whose last attempt this is after the deaths of the workers before: so it harms no other,
// and is not harmed once more by the chunk that did it. The worker is not its owner meanwhile: what
// happens is not to be blamed on it.
func (r *chunkRun) takeAlone() bool {
	h := r.on
	pass := make(chan *execute.Pass, 1)
	go func() {
		p := h.Executor.Alone()
		h.recorder.idle()
		pass <- p
	}()
	select {
	case r.chunk.Pass = <-pass:
	case <-h.Executor.Serving.Done():
		go func() { (<-pass).End() }()
		r.delivered(observe.Draining)
		r.giveUp(job.Head)
		return false
	}
	var taken []job.Taken
	err := until(h.Calls, r.log(), "take", func(ctx context.Context) (err error) {
		taken, err = h.take(ctx, r.lane, r.TaskID, 0)
		return err
	})
	if err == nil && len(taken) == 1 {
		r.take(taken[0])
		if r.Verdict == job.Run {
			return true
		}
	}
	r.chunk.Pass.End()
	switch {
	case err != nil:
		r.giveUp(job.Head)
	case len(taken) == 1:
		r.refuse()
	default:
		r.close()
	}
	return false
}

// giveUp gives a delivery back of which nothing has run here, and ends it.
func (r *chunkRun) giveUp(where string) {
	r.try("giving a chunk back", func(ctx context.Context) error {
		if r.Verdict != job.Run { // the worker is not the chunk's owner
			return r.putBack(ctx)
		}
		_, err := r.send(ctx, r.returned(nil, 0, where))
		return err
	})
	r.close()
}

// close says that the delivery has been dealt with, as far as this worker is concerned.
func (r *chunkRun) close() {
	r.cancel(nil)
	for _, twin := range r.on.delist(r) {
		go twin.giveUp(job.Head)
	}
	r.over(r.hostedEnd())
}

// Refuse deals with a delivery that gets no slot.
func (h *Handler) Refuse(lane string, t job.Taken) {
	h.newRun(lane, t, func(error) {}).refuse()
}

func (r *chunkRun) refuse() {
	switch r.Verdict {
	case job.Run, job.Alone: // no slot is free
		r.giveUp(job.Head)
	case job.WasRecorded, job.HadEnded, job.WasGone, job.Occupied:
		r.delivered(observe.Verdict(r.Verdict))
		r.dealt.Store(true)
		r.close()
	case job.Late:
		r.delivered(observe.Ended)
		var states []job.State
		err := until(r.on.Calls, r.log(), "expire", func(ctx context.Context) (err error) {
			states, err = job.Expire(ctx, r.on.Redis, r.lane, r.Ref)
			return err
		})
		if err == nil && states[0].Ended() {
			r.drop("")
		} else { // its job has begun meanwhile
			r.giveUp(job.Head)
		}
	case job.NoArgs:
		r.delivered(observe.Refused)
		s, err := job.Read(context.Background(), r.on.Redis, r.lane, r.Name)
		if err == nil && s.State == job.Open && r.Chunk >= s.Chunks {
			r.fail(errCut)
			return
		}
		r.condemn(fmt.Errorf("chunk %d has neither arguments nor outcomes", r.Chunk))
	case job.Damaged:
		if r.Name == "" {
			r.delivered(observe.Foreign)
			r.dismiss(fmt.Sprintf("task %q is no delivery of distpool; if another program uses this queue, give it one of its own", r.TaskID))
			r.close()
			return
		}
		r.delivered(observe.Refused)
		_, err := job.Read(context.Background(), r.on.Redis, r.lane, r.Name)
		if err == nil || !job.IsDamaged(err) {
			err = errDamaged
		}
		r.condemn(err)
	default:
		if r.Verdict == job.Held {
			r.delivered(observe.Busy)
		}
		r.close()
	}
}
