package results

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

// "The call failed" and "I stopped waiting" are different errors: the first is a
// *TaskError (or, for a map, a *MapError), the second is ErrTimeout or the error
// of the caller's context. The others say that there will be no outcome.
var (
	// ErrTimeout says that the caller's time to wait is over. The job goes on, and
	// waiting again is fine, unless it came from a blocking form (producer.Apply, Map),
	// which cancels the job. It matches context.DeadlineExceeded too.
	ErrTimeout error = timeoutError{}
	// ErrNotReady says that a question was asked that only a finished job answers.
	ErrNotReady = errors.New("the result is not ready")
	// ErrCanceled says that the job was canceled: by a handle, by Pool.Terminate,
	// or because its record was forgotten while it ran.
	ErrCanceled = await.ErrCanceled
	// ErrNotStarted says that the job was canceled because none of it was started
	// within the time of producer.ExpiresIn. It matches ErrCanceled too.
	ErrNotStarted = await.ErrNotStarted
	// ErrUnknownJob says that Redis has no job of this ID: it never existed, was
	// forgotten, or its result outlived its time to live.
	ErrUnknownJob = await.ErrUnknownJob
	// ErrExpired says that the record of a job that did exist is gone: its time to
	// live passed, it was forgotten, or Redis lost it or a part of it (restart without
	// persistence, failover, eviction). Whether its calls ran is not known.
	ErrExpired = await.ErrExpired
	// ErrCorrupt says that the record of a job does not parse or contradicts itself:
	// what is in Redis was changed by something else than distpool.
	ErrCorrupt = await.ErrCorrupt
	// ErrUntrusted says that a signature is missing or wrong: a worker refused to
	// run the job, or its outcomes are not those that a worker recorded. Only with
	// signing (Config.Keyring). Encrypted outcomes that do not open match it too.
	ErrUntrusted = await.ErrUntrusted
	// ErrClosed says that the pool behind a handle was closed or terminated.
	ErrClosed = await.ErrClosed
	// ErrTaskMismatch says that the job with this ID belongs to another task, or
	// has another number of calls, than the caller expects.
	ErrTaskMismatch = errors.New("the job is not of this task")
	// ErrIDTaken says that the ID that a submission asked for (see producer.ID)
	// belongs to a job of another task, or with other arguments.
	ErrIDTaken = errors.New("another job has this ID")
	// ErrWorkerLost says that the workers that ran the call died, as often as the
	// budget of deliveries allows. A *TaskError of KindWorkerLost matches it.
	ErrWorkerLost = errors.New("the workers that ran the call died")
	// ErrCallTimeout says that the call ran longer than its CallTimeout or
	// HardTimeout allows. A *TaskError of KindTimeout matches it. It does not match
	// context.DeadlineExceeded, which says that the caller stopped waiting.
	ErrCallTimeout = errors.New("the call ran for too long")
	// ErrNoSlot says that a call waited for a nested job which had no slot: every
	// slot that could run it is held by a call that waits for a nested job itself. Of
	// such calls one fails, so that its slot serves the others. The job
	// stays as it is, and runs once there is a slot. A *TaskError matches it when
	// its call failed with it. See package producer on nested jobs.
	ErrNoSlot = nested.ErrNoSlot
	// ErrUnknownTask says that no live worker of the queue knows the task. A
	// *TaskError of KindUnknownTask matches it.
	ErrUnknownTask = errors.New("no worker of the queue knows the task")
)

// ErrNoSlot is the failure of a call that passes it on, at every level.
func init() { tasks.RegisterError("distpool.no-slot", ErrNoSlot) }

type timeoutError struct{}

func (timeoutError) Error() string        { return "timed out" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Kind says what went wrong with a call.
type Kind string

// The kinds of failure.
const (
	KindError       = Kind(wire.KindError)       // the task returned an error
	KindPanic       = Kind(wire.KindPanic)       // the task panicked; Stack says where
	KindGoexit      = Kind(wire.KindGoexit)      // the task called runtime.Goexit; Stack says where
	KindBadArgument = Kind(wire.KindBadArgument) // the argument could not be decoded by the worker
	KindBadResult   = Kind(wire.KindBadResult)   // the value could not be encoded or decoded, or is too large
	KindUnknownTask = Kind(wire.KindUnknownTask) // no live worker of the queue knows the task
	KindTimeout     = Kind(wire.KindTimeout)     // the call ran longer than its CallTimeout or HardTimeout allows
	KindWorkerLost  = Kind(wire.KindWorkerLost)  // the workers that ran the call died
)

// TaskError is the failure of one call. The error that the task returned does
// not travel itself; its message, type and registered codes do: errors.Is finds
// every error that both sides registered under the same code (see
// tasks.RegisterError).
type TaskError struct {
	Task     string // name of the task
	Job      string // ID of the job
	Call     int    // index of the call in its job, from 0
	Kind     Kind   // what went wrong
	Message  string // the error's message, or the panic's value
	Type     string // Go type of the error, or of the panic's value, such as "*fs.PathError"
	Stack    string // the worker's stack; set for KindPanic and KindGoexit
	Attempts int    // how often the call was tried; runs that ended with their worker count as one with what followed
	Worker   string // ID of the worker that ran it last

	codes []string
	cause error // why this process cannot decode the value; nil for all that the worker told
}

// Error names task, call and what went wrong. The stack is not part of it.
func (e *TaskError) Error() string {
	what := ""
	switch e.Kind {
	case KindPanic:
		what = "panic: "
	case KindError, KindBadArgument, KindBadResult, KindUnknownTask, KindWorkerLost, KindTimeout, KindGoexit:
	}
	return fmt.Sprintf("task %q, call %d: %s%s", e.Task, e.Call, what, e.Message)
}

// Unwrap returns the registered errors that the task's error matched, and
// ErrWorkerLost, ErrCallTimeout or ErrUnknownTask where that is what happened. Of a
// value that this process cannot decode, it is the error of the codec.
func (e *TaskError) Unwrap() []error {
	var errs []error
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	for _, code := range e.codes {
		if err, ok := tasks.ErrorForCode(code); ok {
			errs = append(errs, err)
		}
	}
	switch e.Kind {
	case KindWorkerLost:
		errs = append(errs, ErrWorkerLost)
	case KindTimeout:
		errs = append(errs, ErrCallTimeout)
	case KindUnknownTask:
		errs = append(errs, ErrUnknownTask)
	case KindError, KindPanic, KindGoexit, KindBadArgument, KindBadResult:
	}
	return errs
}

// MapError lists the calls of a job that failed. The other calls have their
// values.
type MapError struct {
	Task   string       // name of the task
	Job    string       // ID of the job
	Calls  int          // calls of the job
	Errors []*TaskError // the failed ones, ascending by Call
}

// maxListed is how many failures Error spells out.
const maxListed = 3

// Error counts the failed calls and spells out the first ones.
func (e *MapError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "task %q: %d of %d calls failed", e.Task, len(e.Errors), e.Calls)
	for i, te := range e.Errors {
		if i == maxListed {
			fmt.Fprintf(&b, "; and %d more", len(e.Errors)-maxListed)
			break
		}
		fmt.Fprintf(&b, "; call %d: %s", te.Call, te.Message)
	}
	return b.String()
}

// Unwrap returns the failures, so that errors.Is and errors.As reach each.
func (e *MapError) Unwrap() []error {
	errs := make([]error, len(e.Errors))
	for i, te := range e.Errors {
		errs[i] = te
	}
	return errs
}

func taskError(job *await.Job, o wire.Outcome, e wire.CallError) *TaskError {
	return &TaskError{
		Task: job.Task, Job: job.ID, Call: o.First + e.Call, Kind: Kind(e.Kind), Message: e.Message,
		Type: e.Type, Stack: e.Stack, Attempts: e.Attempts, Worker: e.Worker, codes: e.Codes,
	}
}

// undecoded is the failure of a call with a value that this process cannot decode.
func undecoded(job *await.Job, call int, err error) *TaskError {
	return &TaskError{
		Task: job.Task, Job: job.ID, Call: call, Kind: KindBadResult, Attempts: 1,
		Message: fmt.Sprintf("decoding the value: %v", err), cause: err,
	}
}
