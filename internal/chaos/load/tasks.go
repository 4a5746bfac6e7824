package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// Arg is the argument of a call: what the call has to come to follows from it.
type Arg struct {
	Sub  string       `json:"s"`
	Call int          `json:"i"`
	Plan history.Plan `json:"p"`
}

// Value is the value of a call: what was asked for, and the run that computed it.
type Value struct {
	N   uint32 `json:"n"`
	Run string `json:"r"`
}

const (
	runName  = "chaos.run"
	pairName = "chaos.pair"
)

// The tasks, as producers know them.
var (
	runTask  = tasks.Declare[Arg, Value](runName)
	pairTask = tasks.Declare[tasks.Args2[Arg, int], Value](pairName)
)

// slotsEach is the number of slots of a worker.
const slotsEach = 4

// Grace is how long a worker that is told to end may take for its running calls.
const Grace = 10 * time.Second

// recorder runs calls and writes that down.
type recorder struct {
	h       *history.Writer
	process string
	n       atomic.Int64
}

// work is a worker process.
func work(ctx context.Context, s Spec, h *history.Writer, log *slog.Logger) error {
	r := &recorder{h: h, process: s.Process}
	run := tasks.Define(runName, r.call)
	pair := tasks.Define2(pairName, func(ctx context.Context, a Arg, call int) (Value, error) {
		a.Call = call
		return r.call(ctx, a)
	})
	for {
		begun := false
		err := worker.Run(ctx, worker.Config{
			Redis: s.Redis, Name: s.Process, Queues: map[string]int{Queue: 1}, Concurrency: slotsEach, Grace: Grace, Logger: log,
			Init: func(ctx context.Context) (context.Context, error) { begun = true; return ctx, nil },
		}, run, pair)
		if begun || ctx.Err() != nil {
			return err
		}
		// Redis is away. Whatever manages services would start us again.
		log.Warn("the worker cannot start yet", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// call is what both tasks do.
func (r *recorder) call(ctx context.Context, a Arg) (Value, error) {
	info := tasks.Info(ctx)
	run := r.process + "-" + strconv.FormatInt(r.n.Add(1), 36)
	r.h.Write(history.Event{
		What: history.Began, Sub: a.Sub, Job: info.Job, Chunk: info.Chunk, Call: info.Call,
		Attempt: info.Attempt, Delivery: info.Delivery, Worker: info.Worker, Run: run,
	})
	if a.Plan.Slow > 0 {
		select {
		case <-ctx.Done():
			return Value{}, ctx.Err()
		case <-time.After(time.Duration(a.Plan.Slow) * time.Millisecond):
		}
	}
	o := history.Outcome{Kind: a.Plan.Expect(a.Call, info.Attempt), Run: run}
	if o.Kind == "" {
		o.Value = history.Value(a.Sub, a.Call)
	} else {
		o.Attempts = info.Attempt
	}
	r.h.Write(history.Event{What: history.Ran, Run: run, Outs: []history.Outcome{o}})
	switch o.Kind {
	case history.KindError:
		return Value{}, errors.New(failure(run))
	case history.KindPanic:
		panic(failure(run))
	default:
		return Value{o.Value, run}, nil
	}
}

// failure is the message of a planned failure. It names the run.
func failure(run string) string { return fmt.Sprintf("run %s: as planned", run) }

// runOf undoes failure; "" for another message.
func runOf(message string) string {
	rest, ok := strings.CutPrefix(message, "run ")
	run, _, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 {
		return ""
	}
	return run
}
