package deliver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/queue"
	"github.com/distpool/distpool/observe"
)

const (
	// noticeBytes is how large outcomes may be to travel inside the notice.
	noticeBytes = 8 << 10
	// backgroundBytes is how large the outcomes of chunks may be together that are recorded in
	// the background while their slots run the next ones. One may be larger, alone.
	backgroundBytes = 8 << 20
	// backgroundChunks is how many chunks these may be; as many as there are slots, if those
	// are more. What a crash makes run again is bounded by it.
	backgroundChunks = 64
)

// record records the outcomes of a chunk that is over, in the background: a slot is for calls.
func (r *chunkRun) record() {
	rec := r.on.recorder
	frame := r.outcomes(r.run.Outcome())
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

// summary says that calls failed, with the message of the first one.
func (r *chunkRun) summary(msg string) string {
	first, n := r.run.Calls()
	failures := r.run.Failures()
	return fmt.Sprintf("%d of %d calls failed; call %d: %s", len(failures), n, first+failures[0].Call, msg)
}

// recordAlone records outcomes, which have entered the recorder, until Redis answers. Large frames
// travel in pieces that every Redis takes, so only a service with a limit of its own refuses them for
// their size.
func (r *chunkRun) recordAlone(frame []byte) {
	defer r.on.recorder.leave(len(frame))
	answer, err := r.finish(r.on.Calls, "record", func(again bool) ([]byte, int) {
		if again {
			frame = r.outcomes(r.run.Outcome())
		}
		return frame, 0
	}, func(stored []byte, _ int) job.Finished { return r.recording(stored) })
	if err != nil {
		r.fail(err)
		return
	}
	r.recorded(answer)
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
		r.log().Debug("the outcomes were not wanted", "answer", answer)
		r.end(observe.ChunkUnwanted, nil)
	}
}

// giveBack lets another worker go on with the chunk, at once. Calls that are to
// run again are due at the given time; the zero time is now.
func (r *chunkRun) giveBack(due time.Time) {
	_, err := r.handOver(r.on.Returns, due, 0, func(part []byte, calls int) job.Finished { return r.returned(part, calls, job.Head) })
	switch {
	case isFinal(err):
		r.condemn(err)
	case err != nil: // the worker ends, and Abandon counts what it has not given back
		r.log().Warn("giving a chunk back failed; it is taken over once this worker counts as dead", "error", err)
		r.endWatched(observe.ChunkGivenBack, err)
		r.over(r.hostedEnd())
	default:
		r.end(observe.ChunkGivenBack, nil)
	}
}

// putOff gives the slot to others while failed calls wait for their next attempt. The delivery
// waits in asynq's retry set, where operators see it. asynq counts in whole seconds: this worker
// starts it at its time, and others a little later should that fail.
func (r *chunkRun) putOff(p execute.Result) {
	first, n := r.run.Calls()
	msg := fmt.Sprintf("%d of %d calls run again in %v", p.Waiting, n, p.Wait.Round(time.Millisecond))
	if p.Last != nil {
		msg += fmt.Sprintf("; call %d, attempt %d: %s", first+p.Last.Call, p.Last.Attempts, r.shown(p.Last.Message))
	}
	whole := p.Due.Truncate(time.Second).Add(time.Second)
	answer, err := r.handOver(r.on.Calls, p.Due, r.next().Number, func(part []byte, calls int) job.Finished {
		return r.hosted(job.PutOff(r.Delivery, part, calls, whole, job.Message(r.lane, r.chunk.Task, r.next(), msg, time.Now())))
	})
	switch {
	case err != nil:
		r.fail(err)
	case answer != job.OK:
		r.end(observe.ChunkTaken, nil) // its job is over, or another worker took it
	default:
		h, lane, id := r.on, r.lane, r.next().TaskID()
		time.AfterFunc(time.Until(p.Due), func() {
			ctx, cancel := context.WithTimeout(h.Calls, askTime)
			defer cancel()
			_, _ = job.Start(ctx, h.Redis, lane, time.Now(), id)
		})
		r.end(observe.ChunkPutBack, nil)
	}
}

// handOver gives the chunk back by the entry, with what it has so far. Calls that wait are due at
// the given time; the zero time is now. waits is the number of the delivery that waits until then,
// or 0. What Redis refuses for its size it would refuse of the outcomes, too.
func (r *chunkRun) handOver(ctx context.Context, due time.Time, waits int, entry func(part []byte, calls int) job.Finished) (job.Answer, error) {
	return r.finish(ctx, "giving a chunk back", func(bool) ([]byte, int) {
		p, ok := r.run.Partial(due)
		if !ok {
			return nil, 0
		}
		p.Waits = waits
		return r.partial(p), p.Finished()
	}, entry)
}

// finish stores a frame, which finishes so many calls, and sends the entry that refers to it, until
// Redis has answered or ctx ends. If Redis refuses them for their size, calls fail, those with the
// largest values first, until it takes the rest, which is another frame: what a Redis refuses for its
// size it refuses for ever.
func (r *chunkRun) finish(ctx context.Context, what string, frame func(again bool) (data []byte, calls int), entry func(stored []byte, calls int) job.Finished) (answer job.Answer, err error) {
	for again := false; ; again = true {
		data, calls := frame(again)
		var stored []byte
		err = until(ctx, r.log(), what, func(ctx context.Context) (err error) {
			if stored == nil {
				if stored, err = job.Store(ctx, r.on.Redis, r.lane, r.Name, data); err != nil {
					stored = nil
					return err
				}
			}
			answer, err = r.send(ctx, entry(stored, calls))
			if err == nil && answer == job.NotOwner && len(stored) > 0 {
				// Redis may have lost which worker runs the chunk: then a checkpoint makes it this one's again.
				if state, cerr := r.checkpoint(ctx, stored, calls); cerr == nil && !state.Ended() {
					answer, err = r.send(ctx, entry(stored, calls))
				}
			}
			if err == nil && answer == job.NoFrame {
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

// shrink halves the outcomes of a chunk that Redis refuses for their size; false if
// nothing is left to leave out.
func (r *chunkRun) shrink(size int, refusal error) bool {
	r.log().Error("Redis refuses outcomes for their size; calls with large values fail", "error", refusal)
	return r.run.Shrink(size/2, func(own int) string {
		return fmt.Sprintf("the value encodes to %d bytes, and Redis refuses the %d bytes of its chunk's outcomes: %v; return a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", own, size, refusal)
	})
}

// recorder sends what became of chunks, those of several in one request, and bounds how many are
// under way.
type recorder struct {
	send  func(ctx context.Context, lane string, entries []job.Finished) ([]job.Answer, error)
	batch queue.Batch[job.Finished, job.Answer]
	least int // what each chunk counts for at least, of backgroundBytes

	mu    sync.Mutex // guards taken
	freed sync.Cond
	taken int // bytes that are under way
}

func newRecorder(rdb redis.UniversalClient, worker string, slots int) *recorder {
	rec := &recorder{least: backgroundBytes / max(backgroundChunks, slots)}
	rec.freed.L = &rec.mu
	rec.send = func(ctx context.Context, lane string, entries []job.Finished) ([]job.Answer, error) {
		return job.Finish(ctx, rdb, lane, job.Finishing{Worker: worker, Inline: noticeBytes, Now: time.Now()}, entries)
	}
	rec.batch.Send, rec.batch.Size = rec.send, job.Finished.Size
	return rec
}

// enter waits until there is room for a frame.
func (rec *recorder) enter(size int) {
	size = max(size, rec.least)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for rec.taken > 0 && rec.taken+size > backgroundBytes {
		rec.freed.Wait()
	}
	rec.taken += size
}

// leave frees the room of a frame.
func (rec *recorder) leave(size int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.taken -= max(size, rec.least)
	rec.freed.Broadcast()
}

// idle waits until nothing is under way.
func (rec *recorder) idle() {
	rec.enter(backgroundBytes + 1) // which has room when it is alone
	rec.leave(backgroundBytes + 1)
}
