package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

// record records the outcomes of a chunk that is over, in the background: a slot is for calls.
func (r *chunkRun) record() {
	rec := r.on.recorder
	frame := r.outcomeFrame(r.run.Outcome())
	rec.enter(len(frame))
	if len(frame) >= job.LargeFrame { // others should not wait for its transfer
		go r.recordAlone(frame)
		return
	}
	rec.batch.Go(r.lane, r.recording(frame), func(answer job.Answer, err error) {
		if err != nil {
			go r.recordAlone(frame)
			return
		}
		rec.leave(len(frame))
		if answer == job.OK && r.watched == nil {
			r.recorded(answer)
			return
		}
		go r.recorded(answer) // others wait for us, and must not wait for observers or Redis
	})
}

// recording is what is recorded: the framed outcomes, or the reference to them.
func (r *chunkRun) recording(frame []byte) job.Finished {
	_, calls := r.run.Calls()
	o := job.Outcomes{Frame: frame, Calls: calls, Failed: len(r.run.Failures())}
	o.SlowCall, o.SlowTook = r.run.Slowest()
	if o.Failed > 0 {
		o.Message = job.Message(r.lane, r.chunk.Task, r.Delivery, r.summary(r.shown(r.run.Failures()[0].Message)), time.Now())
	}
	recording := job.Record(r.Delivery, o)
	if r.on.Hosted {
		recording = recording.Hosted("")
	}
	return recording
}

// recordAlone records outcomes, which have entered the recorder, until Redis answers. Large frames travel in pieces that every Redis
// takes, so only a service with a limit of its own refuses them for their size.
func (r *chunkRun) recordAlone(frame []byte) {
	defer r.on.recorder.leave(len(frame))
	until := func(f func(context.Context) error) error { return r.untilAnswered("record", f) }
	answer, err := r.sendFrame(until, func() []byte {
		if frame == nil {
			return r.outcomeFrame(r.run.Outcome())
		}
		first := frame
		frame = nil
		return first
	}, func(ctx context.Context, stored []byte) (job.Answer, error) { return r.send(ctx, r.recording(stored)) })
	switch {
	case isFinal(err):
		r.condemn(err)
	case err != nil:
		r.interrupted()
	default:
		r.recorded(answer)
	}
}

// recorded ends the chunk as the record has answered.
func (r *chunkRun) recorded(answer job.Answer) {
	r.note(answer)
	switch answer {
	case job.OK:
		if failures := r.run.Failures(); len(failures) > 0 {
			r.why = r.summary(r.shown(failures[0].Message))
		}
		r.end(observe.ChunkRecorded, nil)
	case job.BadJob:
		r.condemn(errDamaged)
	default:
		r.Logger().Debug("the outcomes were not wanted", "answer", answer)
		r.end(observe.ChunkUnwanted, nil)
	}
}

// send sends one entry by itself, once.
func (r *chunkRun) send(ctx context.Context, entry job.Finished) (job.Answer, error) {
	answers, err := r.on.recorder.send(ctx, r.lane, []job.Finished{entry})
	if err != nil {
		return "", err
	}
	if r.note(answers[0]); answers[0] == job.BadJob {
		err = errDamaged
	}
	return answers[0], err
}

// until repeats a request.
type until func(func(context.Context) error) error

// sendFrame stores a frame, and has finish send what refers to it. If Redis refuses them for their
// size, calls fail, those with the largest values first, until it takes the rest: what a Redis
// refuses for its size it refuses for ever.
func (r *chunkRun) sendFrame(until until, frame func() []byte, finish func(ctx context.Context, stored []byte) (job.Answer, error)) (answer job.Answer, err error) {
	for {
		data := frame()
		var stored []byte
		err = until(func(ctx context.Context) (err error) {
			if stored == nil {
				if stored, err = job.Store(ctx, r.on.Redis, r.lane, r.Name, data); err != nil {
					stored = nil
					return err
				}
			}
			if answer, err = finish(ctx, stored); err == nil && answer == job.NoFrame {
				stored, err = nil, errUnstored
			}
			return err
		})
		if answer != job.OK {
			r.discard(stored)
		}
		if !job.IsTooLarge(err) || !r.shrink(len(data), err) {
			return answer, err
		}
	}
}

// discard removes a large frame that no record refers to. Otherwise it goes by itself.
func (r *chunkRun) discard(stored []byte) {
	if job.IsReference(stored) {
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		_ = job.Discard(ctx, r.on.Redis, r.lane, r.Name, stored)
	}
}

// shrink halves the outcomes of a chunk that Redis refuses for their size; false if
// nothing is left to leave out.
func (r *chunkRun) shrink(size int, refusal error) bool {
	r.Logger().Error("Redis refuses outcomes for their size; calls with large values fail", "error", refusal)
	return r.run.Shrink(size/2, func(own int) string {
		return fmt.Sprintf("the value encodes to %d bytes, and Redis refuses the %d bytes of its chunk's outcomes: %v; return a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", own, size, refusal)
	})
}
