package worker

import (
	"context"
	"sync"

	"github.com/distpool/distpool/internal/combine"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/observe"
)

// atOnce is how many chunks are under way at the most; as many as there are slots, if
// those are more. Each is a call or some, of less than combine.Large.
const atOnce = 64

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
	wg     sync.WaitGroup

	mu   sync.Mutex
	done map[string]bool // deliveries that asynq need not end any more; by task ID
}

func newFinisher(w *worker) *finisher {
	return &finisher{worker: w, room: make(chan struct{}, max(atOnce, w.cfg.Concurrency)), done: map[string]bool{}}
}

// take takes over a chunk with its outcomes, once there is room for it. Those that
// would hold up others it records at once, while the slot is held; but it refuses what
// would do so within a script.
func (f *finisher) take(r *chunkRun, recording record.Recording) bool {
	alone := recording.IsLarge()
	if len(recording.Outcome) > combine.Large && !alone {
		return false
	}
	select {
	case f.room <- struct{}{}:
	case <-f.worker.calls.Done():
		return false
	}
	r.handedOn = true
	f.mu.Lock()
	f.done[r.taskID] = true
	f.mu.Unlock()
	f.wg.Add(1)
	op := record.Finish(refOf(r.delivery), r.inline, r.delivery.Chunk, recording, r.queue, r.taskID)
	if alone {
		f.repeat(r, op)
		return true
	}
	cmd := op.Cmd(context.Background())
	f.worker.shared.Go(cmd, func() {
		answer, err := cmd.Text()
		switch {
		case err != nil:
			go f.repeat(r, op)
		case r.watched != nil:
			go f.settle(r, record.Result(answer)) // others wait for us, and must not wait for observers
		default:
			f.settle(r, record.Result(answer))
		}
	})
	return true
}

// repeat does alone what failed together with others, or is too large for them.
func (f *finisher) repeat(r *chunkRun, op record.Op) {
	answer, err := untilAnswered(f.worker, r.delivery, "finish", func(ctx context.Context) (record.Result, error) {
		s, err := op.Run(ctx, f.worker.rdb).Text()
		return record.Result(s), err
	})
	if err != nil {
		// asynq has been told that this delivery is over: what interrupted answers is
		// for it. Its lease runs out, and by then there is nothing left to run.
		r.endWatched(r.interrupted())
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
	f.wg.Done()
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
func (f *finisher) wait(ctx context.Context) {
	idle := make(chan struct{})
	go func() {
		f.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
