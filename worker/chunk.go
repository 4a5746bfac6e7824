package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

const (
	// What travels of a failure is bounded, so that a task cannot fill Redis with
	// its errors.
	maxMessage = 16 << 10
	maxStack   = 32 << 10
	// maxOutcome bounds a chunk's outcomes: Redis takes values of up to 512 MB.
	maxOutcome = 256 << 20
)

// chunkRun is one chunk running on this worker.
type chunkRun struct {
	worker   *worker
	log      *slog.Logger
	delivery wire.Delivery
	task     string
	queue    string
	started  time.Time
	ctx      context.Context // of its calls
	cancel   context.CancelCauseFunc

	first, calls int              // the chunk's place in the job
	total        int              // calls of the job
	number       int              // delivery number, by the record's count
	errors       []wire.CallError // ascending by Call
}

// run runs the calls and records their outcomes.
func (r *chunkRun) run(b record.Begun) error {
	first, n, data, err := wire.ParseArgs(b.Args)
	if err != nil {
		return r.worker.condemn(r.log, r.delivery.Job, err)
	}
	r.first, r.calls, r.total, r.number = first, n, b.Calls, b.Delivery
	chunk, kind, why := r.decode(b, data, n)
	if why != nil && first+n > b.Calls {
		// The frame contradicts the record: its number of calls is no measure of how
		// many failures to report.
		return r.worker.condemn(r.log, r.delivery.Job, fmt.Errorf("arguments of calls %d to %d in a job of %d calls: %w", first, first+n-1, b.Calls, why))
	}
	if why != nil {
		r.failAll(kind, why.Error())
		return r.record(nil)
	}
	if !r.runCalls(chunk) {
		return r.interrupted()
	}
	return r.record(r.encode(chunk))
}

// decode finds the task and lets it decode the arguments.
func (r *chunkRun) decode(b record.Begun, data []byte, n int) (call.Chunk, wire.Kind, error) {
	w := r.worker
	t, ok := w.tasks[b.Task]
	if !ok {
		return nil, wire.KindUnknownTask, fmt.Errorf("no live worker of queue %q knows the task %q; worker %s knows %s",
			r.queue, b.Task, w.self.ID, strings.Join(w.self.Tasks, ", "))
	}
	if t.CodecName() != b.Codec {
		return nil, wire.KindBadArgument, fmt.Errorf("the job is encoded with codec %q, the worker's task uses %q; use the same on both sides", b.Codec, t.CodecName())
	}
	chunk, err := t.Decode(data, n)
	return chunk, wire.KindBadArgument, err
}

// runCalls runs the calls one after the other. It returns false when it stopped
// early: the job ended, or the worker gives its calls up.
//
// They run on a goroutine of their own, since runtime.Goexit ends the goroutine
// that calls it. A call that ends it so, or by a panic, costs only itself: the
// next goroutine goes on behind it.
func (r *chunkRun) runCalls(chunk call.Chunk) bool {
	next, whole := 0, true
	for next < chunk.Len() && whole {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			returned := false
			defer func() {
				if returned {
					return
				}
				r.died(next, recover())
				next++
			}()
			for ; next < chunk.Len() && whole; next++ {
				whole = r.one(chunk, next)
			}
			returned = true
		}()
		<-ended
	}
	return whole
}

// one runs one call. It returns false when the call was interrupted.
func (r *chunkRun) one(chunk call.Chunk, i int) bool {
	if r.ctx.Err() != nil {
		return false
	}
	if err := chunk.Bad(i); err != nil {
		r.fail(wire.CallError{Call: i, Kind: wire.KindBadArgument, Message: err.Error()})
		return true
	}
	err := chunk.Call(tasks.WithInfo(r.ctx, r.info(i)), i)
	if err == nil {
		return true
	}
	if r.ctx.Err() != nil {
		return false // most likely for that reason; it is not the call's failure
	}
	r.fail(wire.CallError{
		Call: i, Kind: wire.KindError, Message: err.Error(), Type: fmt.Sprintf("%T", err),
		Codes: tasks.ErrorCodes(err), Attempts: 1,
	})
	return true
}

func (r *chunkRun) info(i int) tasks.CallInfo {
	return tasks.CallInfo{
		Task: r.task, Job: r.delivery.Job, Call: r.first + i, Calls: r.total, Chunk: r.delivery.Chunk,
		Attempt: 1, Delivery: r.number, Worker: r.worker.self.ID, Queue: r.queue,
	}
}

// died notes that call i ended its goroutine: p is the panic's value, nil after
// runtime.Goexit.
func (r *chunkRun) died(i int, p any) {
	e := wire.CallError{Call: i, Kind: wire.KindPanic, Message: fmt.Sprint(p), Type: fmt.Sprintf("%T", p), Attempts: 1}
	if err, ok := p.(error); ok {
		e.Codes = tasks.ErrorCodes(err)
	}
	if p == nil {
		e.Kind, e.Type, e.Message = wire.KindGoexit, "", "the task called runtime.Goexit"
	}
	e.Stack = trimStack(string(debug.Stack()))
	r.fail(e)
}

// trimStack drops the frames above the one that panicked or called Goexit: they
// are the runtime's and ours.
func trimStack(stack string) string {
	head, _, _ := strings.Cut(stack, "\n")
	for _, mark := range []string{"\npanic(", "\nruntime.Goexit("} {
		if i := strings.Index(stack, mark); i >= 0 {
			// Two lines to a frame: its function, and its place.
			if lines := strings.SplitN(stack[i+1:], "\n", 3); len(lines) == 3 {
				return head + "\n" + lines[2]
			}
		}
	}
	return stack
}

func (r *chunkRun) fail(e wire.CallError) {
	e.Worker = r.worker.self.ID
	e.Message = truncate(e.Message, maxMessage)
	e.Stack = truncate(e.Stack, maxStack)
	r.errors = append(r.errors, e)
}

func (r *chunkRun) failAll(kind wire.Kind, msg string) {
	for i := range r.calls {
		r.fail(wire.CallError{Call: i, Kind: kind, Message: msg})
	}
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "... (truncated)"
}

func (r *chunkRun) hasFailed(i int) bool {
	_, ok := slices.BinarySearchFunc(r.errors, i, func(e wire.CallError, i int) int { return e.Call - i })
	return ok
}

// encode encodes the values. Calls whose values cannot travel fail.
func (r *chunkRun) encode(chunk call.Chunk) []byte {
	values, bad := chunk.Encode(r.hasFailed)
	limit := r.worker.cfg.MaxResult
	if len(values) > limit {
		if bad == nil {
			bad = map[int]error{}
		}
		for i := range chunk.Len() {
			if r.hasFailed(i) || bad[i] != nil {
				continue
			}
			if size := chunk.Size(i); size > limit {
				bad[i] = fmt.Errorf("the value encodes to %d bytes, more than the worker's Config.MaxResult allows (%d); return a reference to the data, or raise the limit", size, limit)
			}
		}
	}
	if len(bad) == 0 && len(values) <= maxOutcome {
		return values
	}
	for i, err := range bad {
		r.fail(wire.CallError{Call: i, Kind: wire.KindBadResult, Message: err.Error(), Attempts: 1})
	}
	slices.SortFunc(r.errors, func(a, b wire.CallError) int { return a.Call - b.Call })
	values, _ = chunk.Encode(r.hasFailed)
	if len(values) > maxOutcome {
		r.errors = nil
		r.failAll(wire.KindBadResult, fmt.Sprintf("the values of the chunk's %d calls encode to %d bytes, more than the %d that fit; use a smaller ChunkSize", r.calls, len(values), maxOutcome))
		return nil
	}
	return values
}

// record records the outcomes, and ends the delivery accordingly.
func (r *chunkRun) record(values []byte) error {
	frame := wire.Outcome{First: r.first, Calls: r.calls, Errors: r.errors, Values: values}.Encode()
	answer, err := untilAnswered(r.worker, "record", func(ctx context.Context) (record.Result, error) {
		return record.Record(ctx, r.worker.rdb, r.delivery.Job, r.delivery.Chunk, frame, r.calls, len(r.errors), noticeBytes)
	})
	if err != nil {
		return r.interrupted()
	}
	if answer != record.OK {
		r.log.Debug("the outcomes were not wanted", "answer", answer)
		return nil
	}
	if len(r.errors) == 0 {
		return nil
	}
	first := r.errors[0]
	return failed{fmt.Sprintf("%d of %d calls failed; call %d: %s", len(r.errors), r.calls, r.first+first.Call, truncate(first.Message, 1000))}
}

// interrupted ends a delivery whose calls did not all run.
func (r *chunkRun) interrupted() error {
	if errors.Is(context.Cause(r.ctx), errJobEnded) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastMoment/2)
	defer cancel()
	again := r.delivery
	again.Number++
	_, err := record.Release(ctx, r.worker.rdb, r.delivery.Job, r.delivery.Chunk, r.worker.self.ID, nil, 0)
	if err == nil {
		err = r.worker.broker.Enqueue(ctx, r.queue, r.task, []wire.Delivery{again})
	}
	if err != nil {
		r.log.Warn("giving a chunk back failed; it is taken over once this worker counts as dead", "error", err)
		return later{"the worker was shut down in the middle of this chunk", 0}
	}
	return nil
}

// giveUp records that the chunk killed its workers.
func (r *chunkRun) giveUp(b record.Begun) error {
	first, n, _, err := wire.ParseArgs(b.Args)
	if err != nil {
		return r.worker.condemn(r.log, r.delivery.Job, err)
	}
	r.first, r.calls = first, n
	r.failAll(wire.KindWorkerLost, fmt.Sprintf("%d workers died while they ran this chunk (calls %d to %d of task %q)", b.Delivery, first, first+n-1, r.task))
	return r.record(nil)
}
