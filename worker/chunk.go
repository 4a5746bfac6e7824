package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// waitHere is the longest wait for a retry, or for the rest of one, that is
// waited out in the slot. For longer ones the chunk goes back to asynq.
const waitHere = 100 * time.Millisecond

// chunkRun is one chunk running on this worker. One goroutine at a time works on
// it: see calls.go.
type chunkRun struct {
	worker   *worker
	delivery wire.Delivery
	taskID   string // asynq's
	task     string
	queue    string
	started  time.Time
	ctx      context.Context // of its calls
	cancel   context.CancelCauseFunc
	pass     *pass             // set once it has begun
	fate     observe.ChunkFate // how its run ended; empty: its record could not be read

	first, calls int // the chunk's place in the job
	total        int // calls of the job
	number       int // delivery number, by the record's count
	policy       call.Policy
	chunk        call.Chunk
	loads        bool        // calls decode their arguments themselves
	sealer       call.Sealer // nil: the task's codec does not encrypt, or its arguments did not open

	// How far it is. Calls run in this order: turn from at on, then next and up.
	turn   []wire.Pending   // calls that failed in an earlier round
	at     int              // turn before this has been run
	next   int              // calls from here on were not begun
	again  []wire.Pending   // calls that failed in this round, and are to run again
	wait   time.Duration    // the longest wait that these ask for
	why    wire.CallError   // the last of their failures
	errors []wire.CallError // calls that failed for good; ascending by Call

	failures int // about how many bytes errors take

	saved     time.Time     // when the last checkpoint was
	saveEvery time.Duration // how far apart they are
	stuck     bool          // a call was abandoned: its goroutine keeps the slot
	handedOn  bool          // the finisher has it
	inline    bool          // its job is known to be inline
	big       bool          // see record.Begun
	spent     []byte        // its arguments as they are in the record: a reference, if they are kept apart
	watched   *observe.Chunk

	begun    time.Time // when its calls began here
	toRun    int       // how many those were
	foreseen bool      // when it will end

	watch    stopwatch
	slowest  record.SlowCall // of those that this worker ran
	contexts []callContext   // for calls to come
}

func (r *chunkRun) logger() *slog.Logger {
	return r.worker.log.With("job", r.delivery.Job, "chunk", r.delivery.Chunk, "task", r.task)
}

// run runs the calls and records their outcomes.
func (r *chunkRun) run(b record.Begun) error {
	args, err := r.whole(b)
	if err != nil {
		return r.unread(err)
	}
	r.spent, b.Args = b.Args, args
	if b.Partial, err = r.wholePartial(b); err != nil {
		return r.unread(err)
	}
	if err := r.trust(b); err != nil {
		return r.refuse(err)
	}
	first, n, data, err := wire.ParseArgs(b.Args)
	if err != nil {
		return r.condemn(err)
	}
	r.first, r.calls, r.total, r.number, r.big = first, n, b.Calls, b.Delivery, b.Big
	r.saved, r.saveEvery = time.Now(), checkpointEvery
	if first+n > b.Calls {
		// The frame contradicts the record: its number of calls is no measure of how
		// many failures to report.
		return r.condemn(fmt.Errorf("arguments of calls %d to %d in a job of %d calls", first, first+n-1, b.Calls))
	}
	if kind, why := r.open(b, data); why != nil {
		r.failRest(kind, why.Error())
		return r.record(nil)
	}
	due, err := r.resume(b.Partial)
	if err != nil {
		return r.condemn(err)
	}
	if b.Verdict == record.Lost {
		r.number = 1 // the count starts anew for the others
		r.blame(b)
	}
	r.decode(b)
	if left := time.Until(due); left > waitHere+time.Second {
		return r.putBack(left, due)
	} else if !r.pause(left) {
		return r.interrupted()
	}
	r.foresee()
	for {
		switch r.runCalls() {
		case interrupted:
			return r.interrupted()
		case abandoned:
			r.stuck = true
			if _, _, more := r.upcoming(); more {
				return r.giveBack(time.Time{})
			}
		case finished:
		}
		if len(r.again) == 0 {
			r.ran()
			return r.record(r.encode())
		}
		if r.stuck && r.wait <= waitHere+time.Second {
			// This worker ends: its next owner waits it out.
			return r.giveBack(time.Now().Add(r.wait))
		}
		if r.wait > waitHere {
			return r.putBack(r.wait, time.Now().Add(r.wait))
		}
		if !r.pause(r.wait) {
			return r.interrupted()
		}
		r.turn, r.at, r.again, r.wait = sorted(r.again), 0, nil, 0
	}
}

// open finds the task, and makes its chunk of the encoded arguments.
func (r *chunkRun) open(b record.Begun, data []byte) (wire.Kind, error) {
	w := r.worker
	t, ok := w.tasks[b.Task]
	if !ok {
		return wire.KindUnknownTask, fmt.Errorf("no live worker of queue %q knows the task %q; worker %s knows %s",
			r.queue, b.Task, w.self.ID, similar(b.Task, w.self.Tasks))
	}
	if t.CodecName() != b.Codec {
		return wire.KindBadArgument, fmt.Errorf("the job is encoded with codec %q, the worker's task uses %q; use the same on both sides", b.Codec, t.CodecName())
	}
	policy, err := call.ParsePolicy(b.Policy)
	if err == nil {
		r.policy = policy.Over(t.Policy())
		err = r.policy.CheckLimits()
	}
	if err != nil {
		return wire.KindBadArgument, err
	}
	if data, err = r.unseal(t, data); err != nil {
		return wire.KindBadArgument, err
	}
	r.chunk, err = t.Chunk(data, r.calls)
	if err == nil && r.big {
		r.chunk.MayBeRaw()
	}
	return wire.KindBadArgument, err
}

// decode decodes the arguments: all in one go, the first time. After a death each call
// decodes its own, so that the one is found whose decoding ends the process; and so it is for
// a chunk that goes on, since calls that have their outcome need no argument any more.
func (r *chunkRun) decode(b record.Begun) {
	first := b.Verdict == record.Run && b.Delivery == 1 && len(b.Partial) == 0
	r.loads = true
	if _, _, more := r.upcoming(); !more {
		return
	}
	if !first {
		err := r.chunk.Splits(r.limit())
		if err == nil || r.unsplit(err) {
			return
		}
	}
	// What was saved may say that calls run again, whatever the policy is here.
	err := r.chunk.DecodeAll(r.limit(), r.policy.MaxAttempts() > 1 || len(b.Partial) > 0)
	if err == nil {
		r.loads = false
		return
	}
	r.leftBehind("decoding the arguments of a chunk", err)
	if serr := r.chunk.Splits(r.limit()); serr != nil && !r.unsplit(serr) {
		r.failRest(wire.KindBadArgument, err.Error())
	}
}

// leftBehind ends this worker if err says that code of the chunk's codec did not return
// in time: it keeps its goroutine.
func (r *chunkRun) leftBehind(what string, err error) bool {
	_, left := err.(*guard.Left)
	if left {
		r.logger().Error(what+" did not return within the HardTimeout of its calls", "error", err)
		r.worker.recycle(ErrRecycle)
	}
	return left
}

// unsplit fails the calls of a chunk whose arguments the codec does not take apart in
// time: it would end the next worker, too.
func (r *chunkRun) unsplit(err error) bool {
	left := r.leftBehind("splitting the arguments of a chunk", err)
	if left {
		r.failRest(wire.KindTimeout, err.Error())
	}
	return left
}

// limit bounds foreign code that runs for the whole chunk; 0 is none.
func (r *chunkRun) limit() time.Duration {
	if t := r.policy.HardTimeout; t != nil {
		return *t
	}
	return 0
}

// resume takes over what an earlier owner saved, and returns when the calls that
// failed then may run again.
func (r *chunkRun) resume(frame []byte) (due time.Time, err error) {
	if len(frame) == 0 {
		return time.Time{}, nil
	}
	p, err := wire.ParsePartial(frame)
	if err == nil && (p.Calls != r.calls || p.First != r.first) {
		err = fmt.Errorf("partial outcomes of calls %d and %d more, for a chunk of %d from %d", p.First, p.Calls-1, r.calls, r.first)
	}
	if err == nil {
		p, err = r.unsealPartial(p)
	}
	if err != nil {
		return time.Time{}, err
	}
	r.turn, r.next, r.errors = p.Pending, p.Next, p.Errors
	if len(p.Values) > 0 {
		bad, damage := r.chunk.Restore(p.Values, func(i int) bool { return !r.lacks(i) }, r.limit())
		if damage != nil {
			return time.Time{}, fmt.Errorf("partial outcomes of a chunk: %w", damage)
		}
		r.leftBehind("decoding the saved values of a chunk", bad)
		for i := 0; bad != nil && i < r.next; i++ {
			if !r.lacks(i) {
				r.fail(wire.CallError{Call: i, Kind: wire.KindBadResult, Attempts: 1, Message: "the call returned on another worker, which saved its value: " + bad.Error()})
			}
		}
	}
	if p.Due == 0 {
		return time.Time{}, nil
	}
	return time.UnixMilli(p.Due), nil
}

// blame gives up the call in which the last of several workers died. Before the
// last attempt every call is saved before it runs, so this is the first one that
// is not finished. Where arguments are decoded in one go and nothing was saved, any of
// them may be to blame.
func (r *chunkRun) blame(b record.Begun) {
	i, attempts, ok := r.upcoming()
	if !ok {
		return
	}
	if r.chunk.Splits(r.limit()) != nil && len(b.Partial) == 0 {
		r.failRest(wire.KindWorkerLost, fmt.Sprintf("%d workers died while they decoded the arguments of this call's chunk; the codec cannot decode them one by one", b.Delivery))
	} else {
		r.advance()
		r.fail(wire.CallError{
			Call: i, Kind: wire.KindWorkerLost, Attempts: attempts + 1,
			Message: fmt.Sprintf("%d workers died while they ran this call's chunk, the last one in this call", b.Delivery),
		})
	}
	r.checkpoint()
}

// pause waits in the slot; false when the chunk is interrupted meanwhile.
func (r *chunkRun) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// putBack gives the slot to others while failed calls wait for their next
// attempt. The delivery waits in asynq's retry set, where operators see it.
func (r *chunkRun) putBack(d time.Duration, due time.Time) error {
	waiting := append(r.again, r.turn[r.at:]...)
	ours, err := untilAnswered(r.worker, r.delivery, "release", func(ctx context.Context) (bool, error) {
		return r.release(ctx, due)
	})
	if err != nil {
		return r.stopped(err)
	}
	if !ours {
		r.fate = observe.ChunkTaken
		return nil // its job is over, or another worker took it
	}
	r.fate = observe.ChunkPutBack
	time.AfterFunc(d, func() {
		r.worker.bringBack(r.queue, r.delivery, func(ctx context.Context) { r.worker.ring(ctx, r.queue, 1) })
	})
	msg := fmt.Sprintf("%d of %d calls run again in %v", len(waiting), r.calls, d.Round(time.Millisecond))
	if r.why.Message != "" {
		msg += fmt.Sprintf("; call %d, attempt %d: %s", r.first+r.why.Call, r.why.Attempts, r.shown(r.why.Message))
	}
	return later{msg, d}
}

// record records the outcomes, and ends the delivery accordingly.
func (r *chunkRun) record(values []byte) error {
	recording := r.recording(values)
	if f := r.worker.finisher; f != nil && len(r.errors) == 0 && r.worker.bell.knowsDone.Load() && f.take(r, recording) {
		return nil
	}
	answer, err := r.recordUntilFits(recording)
	if err != nil {
		return r.stopped(err)
	}
	if answer != record.OK {
		r.fate = observe.ChunkUnwanted
		r.logger().Debug("the outcomes were not wanted", "answer", answer)
		return nil
	}
	r.fate = observe.ChunkRecorded
	if len(r.errors) == 0 {
		return nil
	}
	first := r.errors[0]
	return failed{fmt.Sprintf("%d of %d calls failed; call %d: %s", len(r.errors), r.calls, r.first+first.Call, r.shown(first.Message))}
}

// condemn ends the job, and the delivery.
func (r *chunkRun) condemn(why error) error {
	return r.worker.condemn(r.logger(), refOf(r.delivery), why)
}

// stopped ends a delivery whose chunk's record took no change: it is damaged, or the
// worker ends.
func (r *chunkRun) stopped(why error) error {
	if isFinal(why) {
		r.fate = observe.ChunkCanceled
		return r.condemn(why)
	}
	return r.interrupted()
}
