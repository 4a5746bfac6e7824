package worker

import (
	"context"
	"sync"

	"github.com/distpool/distpool/internal/combine"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/observe"
)

// atOnce is how many chunks are under way at the most; as many as there are slots, if
// those are more. Of those with outcomes of more than combine.Large there are as many as
// slots, and none of more than finishUpTo: so what they take of memory is bounded, too.
const (
	atOnce     = 64
	finishUpTo = 2 << 20
)

// finisher records the outcomes of chunks in which nothing failed, and ends their
// deliveries with it, while their slots run the next ones already: a slot is for
// calls. Whoever hands a chunk in does not wait, but only so many are under way, so
// what a crash makes run again is bounded.
// The record and asynq's part are one script, so that no delivery ends whose outcomes
// were not recorded.
//
// It works on a single server only. Elsewhere the chunk's goroutine waits for the
// recording, and asynq ends the delivery.
type finisher struct {
	worker *worker
	room   chan struct{} // a token for each chunk under way
	large  chan struct{} // and one for each of them that goes alone
	under  tally

	mu   sync.Mutex
	done map[string]bool // deliveries that asynq need not end any more; by task ID
}

func newFinisher(w *worker) *finisher {
	return &finisher{worker: w, room: make(chan struct{}, max(atOnce, w.cfg.Concurrency)), large: make(chan struct{}, w.cfg.Concurrency), done: map[string]bool{}}
}

// take takes over a chunk with its outcomes, once there is room for it. It refuses
// very large ones: their slot waits.
func (f *finisher) take(r *chunkRun, recording record.Recording) bool {
	size := len(recording.Outcome)
	if size > finishUpTo || !f.enter(f.room) {
		return false
	}
	alone := size > combine.Large
	if alone && !f.enter(f.large) {
		<-f.room
		return false
	}
	r.handedOn = true
	f.mu.Lock()
	f.done[r.taskID] = true
	f.mu.Unlock()
	f.under.begin()
	op := record.Finish(refOf(r.delivery), r.inline, r.delivery.Chunk, recording, r.queue, r.taskID)
	if alone { // others should not wait for its transfer
		f.under.run(func() {
			f.repeat(r, op, size)
			<-f.large
		})
		return true
	}
	cmd := op.Cmd(context.Background())
	f.worker.shared.Go(cmd, func() {
		answer, err := cmd.Text()
		switch {
		case err != nil:
			go f.repeat(r, op, size)
		case r.watched != nil:
			go f.settle(r, record.Result(answer)) // others wait for us, and must not wait for observers
		default:
			f.settle(r, record.Result(answer))
		}
	})
	return true
}

// enter waits for room; false when the worker gives up its calls before there is.
func (f *finisher) enter(room chan struct{}) bool {
	select {
	case room <- struct{}{}:
		return true
	case <-f.worker.calls.Done():
		return false
	}
}

// repeat does alone what failed together with others, or is too large for them; until
// it is answered.
func (f *finisher) repeat(r *chunkRun, op record.Op, size int) {
	answer, err := untilAnswered(f.worker, r.delivery, "finish", func(ctx context.Context) (record.Result, error) {
		s, err := op.Run(ctx, f.worker.rdb).Text()
		return record.Result(s), err
	})
	if record.IsTooLarge(err) && r.shrink(size, err) {
		answer, err = r.recordUntilFits(r.recording(r.run.Outcome()))
	}
	if err != nil {
		// asynq has been told that this delivery is over: what interrupted answers is
		// for it. Its lease runs out, and by then there is nothing left to run.
		r.endWatched(r.stopped(err))
		f.over(r)
		return
	}
	f.settle(r, answer)
}

func (f *finisher) settle(r *chunkRun, answer record.Result) {
	r.fate = observe.ChunkRecorded
	if answer != record.OK {
		r.fate = observe.ChunkUnwanted
		r.logger().Debug("the outcomes were not wanted", "answer", answer)
	}
	r.endWatched(nil)
	f.over(r)
}

func (f *finisher) over(r *chunkRun) {
	f.worker.over(r.taskID)
	f.worker.discharge(r)
	<-f.room
	f.under.end()
}

// ended reports whether asynq is ending a delivery that is ended with its recording.
func (f *finisher) ended(taskID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.done[taskID]
	delete(f.done, taskID)
	return was
}

// wait waits for the chunks under way, until ctx ends.
func (f *finisher) wait(ctx context.Context) { f.under.wait(ctx) }
