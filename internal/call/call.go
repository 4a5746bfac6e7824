// Package call is what a worker sees of a task: the typed function of package
// tasks with its types erased. Generic code stops here; behind this interface
// everything is plain bytes and errors.
package call

import (
	"context"
	"errors"
	"time"
)

// Task is a runnable task without its types. Package tasks makes it.
// All methods may be called from several goroutines at once.
type Task interface {
	// Name is the name under which the task is submitted.
	Name() string
	// CodecName names the codec in which arguments and values travel.
	CodecName() string
	// Policy is what the task says about retries and limits.
	Policy() Policy
	// Chunk makes a chunk of n calls of their encoded arguments, which it keeps. Nothing is
	// decoded yet. An error means that the record is damaged.
	Chunk(args []byte, n int) (Chunk, error)
}

// Chunk is the arguments of consecutive calls before the run, and their values after it.
// Load and Call may be called for different indexes from different goroutines at once.
// Encode must come after all of them.
//
// Code that is not distpool's runs under guard, in Call alone it does not: the
// worker knows what a panic means there. Such code gets the time limit, 0 is none, and
// code that has not returned by then is left behind.
type Chunk interface {
	// Len is the number of calls.
	Len() int
	// Splits returns nil if the arguments can be decoded one by one: the codec can
	// split, and they are not damaged. A *guard.Left says that the limit passed.
	Splits(limit time.Duration) error
	// DecodeAll decodes all arguments in one go. After an error Load decodes each, if
	// the chunk splits. A *guard.Left says that the limit passed. keep says that Load
	// will be asked for arguments again.
	DecodeAll(limit time.Duration, keep bool) error
	// Load makes sure that argument i is decoded; again, if it is to be decoded anew,
	// since an earlier run may have changed it. The error says why it cannot be.
	Load(i int, again bool) error
	// Call runs the task on argument i and keeps the value. It does not recover
	// panics: the worker does, since only it knows what they mean. After Abandon it
	// returns ErrAbandoned itself, and the task does not run.
	Call(ctx context.Context, i int) error
	// Restore takes back values that an earlier Save returned, of the calls for which
	// has is true. bad says why the codec cannot read them; those calls have no value
	// then. A *guard.Left in it says that the limit passed.
	Restore(values []byte, has func(i int) bool, limit time.Duration) (bad, damage error)
	// Abandon lets go of call i, which has not returned and may never: what it
	// returns later is dropped, and what has not begun begins no more. It must not run at the same time as other methods,
	// except for the abandoned call.
	Abandon(i int)
	// Size is how many bytes the value of call i, which succeeded, encodes to by
	// itself, by Encode; 0 when it cannot be encoded.
	Size(i int, limit time.Duration) int
	// Encode encodes the values of the chunk, the zero value standing where
	// failed(i) is true. Values that cannot be encoded are reported in bad by
	// index (their place holds the zero value too), so that one unencodable
	// value costs only its own call. When no call is left that succeeded,
	// values is nil. Values of failed calls are dropped: a later Encode may leave
	// out more calls, never fewer. A *guard.Left in bad is of a value that was left behind.
	Encode(failed func(i int) bool, limit time.Duration) (values []byte, bad map[int]error)
	// Save is Encode for a checkpoint, without the raw form of byte strings: Restore takes
	// its array apart.
	Save(failed func(i int) bool, limit time.Duration) (values []byte, bad map[int]error)
}

// ErrAbandoned says that a call was abandoned before its task began.
var ErrAbandoned = errors.New("the call was given up before its task began")

// InfoKey is the key under which the context of a call has its tasks.CallInfo.
type InfoKey struct{}
