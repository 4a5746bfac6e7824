// Package call is what a worker sees of a task: the typed function of package
// tasks with its types erased. Generic code stops here; behind this interface
// everything is plain bytes and errors.
package call

import "context"

// Task is a runnable task without its types. Package tasks makes it.
// All methods may be called from several goroutines at once.
type Task interface {
	// Name is the name under which the task is submitted.
	Name() string
	// CodecName names the codec in which arguments and values travel.
	CodecName() string
	// Policy is what the task says about retries and limits.
	Policy() Policy
	// Decode reads the encoded arguments of a chunk of n calls. An error means
	// that the chunk as a whole cannot be read; an argument that alone is
	// unreadable is reported by Chunk.Bad.
	Decode(args []byte, n int) (Chunk, error)
}

// Chunk is a decoded chunk: its arguments before, its values after the run.
// Call may be called once for each index, for different indexes from different
// goroutines at once. Encode must come after all of them.
type Chunk interface {
	// Len is the number of calls.
	Len() int
	// Bad says why argument i could not be decoded; nil when it could.
	Bad(i int) error
	// Call runs the task on argument i and keeps the value. It does not recover
	// panics: the worker does, since only it knows what they mean.
	Call(ctx context.Context, i int) error
	// Restore takes back values that an earlier Save returned, of the calls for which
	// has is true.
	Restore(values []byte, has func(i int) bool) error
	// Abandon lets go of call i, which has not returned and may never: what it
	// returns later is dropped. It must not run at the same time as other methods,
	// except for the abandoned call.
	Abandon(i int)
	// MayBeRaw says that whoever reads what Encode returns knows the raw form of byte
	// strings.
	MayBeRaw()
	// Size is how many bytes the value of call i, which succeeded, encodes to by
	// itself, by Encode; 0 when it cannot be encoded.
	Size(i int) int
	// Encode encodes the values of the chunk, the zero value standing where
	// failed(i) is true. Values that cannot be encoded are reported in bad by
	// index (their place holds the zero value too), so that one unencodable
	// value costs only its own call. When no call is left that succeeded,
	// values is nil. Values of failed calls are dropped: a later Encode may leave
	// out more calls, never fewer.
	Encode(failed func(i int) bool) (values []byte, bad map[int]error)
	// Save is Encode for another worker, of which nothing is known: never in the raw
	// form.
	Save(failed func(i int) bool) (values []byte, bad map[int]error)
}

// Reads says whether those who will read something know the raw form of byte strings
// (package rawbytes). It is asked where that form is of use; nil is no.
type Reads func() bool

// InfoKey is the key under which the context of a call has its tasks.CallInfo.
type InfoKey struct{}
