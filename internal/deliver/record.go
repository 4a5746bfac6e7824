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
	leave := rec.enter(len(frame))
	if len(frame) >= job.LargeFrame { // others should not wait for its transfer
		go func() {
			defer leave()
			r.recordAlone(frame)
		}()
		return
	}
	rec.batch.Go(r.lane, sized{r.recording(frame), len(frame)}, func(answer job.Answer, err error) {
		switch {
		case err != nil:
			go func() {
				defer leave()
				r.recordAlone(frame)
			}()
		case answer == job.OK && r.watched == nil:
			leave()
			r.recorded(answer)
		default: // others wait for us, and must not wait for observers or Redis
			go func() {
				defer leave()
				r.recorded(answer)
			}()
		}
	})
}

// recording is what is recorded: the framed outcomes, or the reference to them.
func (r *chunkRun) recording(frame []byte) job.Finished {
	_, calls := r.calls()
	o := job.Outcomes{Frame: frame, Calls: calls, Failed: len(r.failures())}
	o.SlowCall, o.SlowTook = r.run.Slowest()
	if o.Failed > 0 {
		o.Message = job.Message(r.lane, r.about.Task, r.Delivery, r.summary(r.shown(r.failures()[0].Message)), time.Now())
	}
	recording := job.Record(r.Delivery, o)
	if r.on.Hosted {
		recording = recording.Hosted("")
	}
	return recording
}

// recordAlone records outcomes until Redis answers. If it refuses them for their size, calls
// fail, those with the largest values first, until it takes the rest: what a Redis refuses for
// its size it refuses for ever. Large frames travel in pieces that every Redis takes, so this is
// for services with a limit of their own.
func (r *chunkRun) recordAlone(frame []byte) {
	for {
		answer, err := r.recordUntilAnswered(frame)
		switch {
		case err == nil:
			r.recorded(answer)
			return
		case job.IsTooLarge(err) && r.shrink(len(frame), err):
			r.logger().Error("Redis refuses outcomes for their size; calls with large values fail", "error", err)
			frame = r.outcomeFrame(r.run.Outcome())
		case isFinal(err):
			r.condemn(err)
			return
		default:
			r.interrupted()
			return
		}
	}
}

func (r *chunkRun) recordUntilAnswered(frame []byte) (job.Answer, error) {
	h := r.on
	var stored []byte
	answer, err := untilAnswered(r, "record", func(ctx context.Context) (job.Answer, error) {
		if stored == nil {
			s, err := job.Store(ctx, h.Redis, r.lane, r.Name, frame)
			if err != nil {
				return "", err
			}
			stored = s
		}
		answer, err := r.finish(ctx, r.recording(stored))
		if err == nil && answer == job.NoFrame {
			stored, err = nil, errUnstored
		}
		return answer, err
	})
	if stored != nil && (err != nil || answer != job.OK) {
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		_ = job.Discard(ctx, h.Redis, r.lane, r.Name, stored) // otherwise it goes by itself
	}
	return answer, err
}

// recorded ends the chunk as the record has answered.
func (r *chunkRun) recorded(answer job.Answer) {
	r.note(answer)
	switch answer {
	case job.OK:
		if failures := r.failures(); len(failures) > 0 {
			r.why = r.summary(r.shown(failures[0].Message))
		}
		r.end(observe.ChunkRecorded, nil)
	case job.BadJob:
		r.condemn(errDamaged)
	default:
		r.logger().Debug("the outcomes were not wanted", "answer", answer)
		r.end(observe.ChunkUnwanted, nil)
	}
}

// shrink halves the outcomes of a chunk that Redis refuses for their size; false if
// nothing is left to leave out.
func (r *chunkRun) shrink(size int, refusal error) bool {
	return r.run != nil && r.run.Shrink(size/2, func(own int) string {
		return fmt.Sprintf("the value encodes to %d bytes, and Redis refuses the %d bytes of its chunk's outcomes: %v; return a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", own, size, refusal)
	})
}
