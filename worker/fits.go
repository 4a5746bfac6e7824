package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// recording is what is recorded of a chunk that is over.
func (r *chunkRun) recording(o wire.Outcome) record.Recording {
	recording := record.Recording{
		Outcome: r.outcomeFrame(o), Calls: o.Calls, Failed: len(o.Errors), Inline: noticeBytes, Apart: r.big, Spent: r.spent,
	}
	if call, took := r.run.Slowest(); took > 0 {
		recording.Slow = record.SlowCall{Call: call, Took: took, Worker: r.worker.self.ID}
	}
	return recording
}

// recordUntilFits records the outcomes until Redis answers. If it refuses them for their
// size, calls fail, those with the largest values first, until it takes the rest: what a
// Redis refuses for its size it refuses for ever. Large frames travel in pieces that every
// Redis takes, so this is for services with a limit of their own.
func (r *chunkRun) recordUntilFits(recording record.Recording) (record.Result, error) {
	for {
		op := recording.Op(refOf(r.delivery), r.delivery.Chunk)
		answer, err := untilAnswered(r.worker, r.delivery, "record", func(ctx context.Context) (record.Result, error) {
			s, err := op.Run(ctx, r.worker.shared).Text()
			return record.Result(s), err
		})
		if !record.IsTooLarge(err) || !r.shrink(len(recording.Outcome), err) {
			return answer, err
		}
		r.logger().Error("Redis refuses outcomes for their size; calls with large values fail", "bytes", len(recording.Outcome), "error", err)
		_ = op.DropLarge(context.Background(), r.worker.rdb) // otherwise it goes by itself
		recording = r.recording(r.run.Outcome())
	}
}

// shrink halves the outcomes of a chunk that Redis refuses for their size; false if
// nothing is left to leave out.
func (r *chunkRun) shrink(size int, refusal error) bool {
	return r.run != nil && r.run.Shrink(size/2, func(own int) string {
		return fmt.Sprintf("the value encodes to %d bytes, and Redis refuses the %d bytes of its chunk's outcomes: %v; return a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", own, size, refusal)
	})
}

// release gives the chunk back to the record with what it has so far. Calls that wait are
// due at the given time; the zero time is now. If Redis refuses it for its size, it would
// refuse the outcomes, too.
func (r *chunkRun) release(ctx context.Context, due time.Time) (ours bool, err error) {
	for {
		var partial []byte
		finished := 0
		if r.run != nil {
			if p, ok := r.run.Partial(due); ok {
				partial, finished = r.partialFrame(p), p.Finished()
			}
		}
		ours, err = record.Release(ctx, r.worker.rdb, refOf(r.delivery), r.delivery.Chunk, r.worker.self.ID, partial, finished)
		if !record.IsTooLarge(err) || !r.shrink(len(partial), err) {
			return ours, err
		}
	}
}
