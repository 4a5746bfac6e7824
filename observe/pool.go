package observe

import (
	"context"
	"time"
)

// Pool is told what a producer.Pool does.
type Pool interface {
	// OpenPool says that a pool was opened. The value is comparable, and ClosePool
	// gets the same one.
	OpenPool(PoolState)
	// ClosePool says that the pool has released what it held.
	ClosePool(PoolState)

	// BeginSubmit begins a submission. What the context that it returns carries
	// reaches everything that the submission does. What it puts into s.Headers
	// travels with the job, to Chunk.Headers on whatever worker runs its chunks,
	// however often they are delivered.
	BeginSubmit(ctx context.Context, s *Submission) context.Context
	// EndSubmit ends it: the job is in Redis, or was not accepted. A stream ends
	// with its loop; err is what the loop got as its last error.
	EndSubmit(ctx context.Context, s *Submission, err error)

	// Settle says that a job which the pool waited for is over for it. It comes
	// before anybody who waits for the job can know.
	Settle(Settlement)

	// RoundTrip says that Redis was asked. Only a client that the pool has opened
	// itself is listened to; to one from Config.Client the program that owns it
	// may add a hook (metrics.Metrics.RedisHook).
	RoundTrip(RoundTrip)
}

// PoolState is an open pool. Its methods cost next to nothing, and may be called
// at any time.
type PoolState interface {
	// Outstanding is the number of jobs that the pool waits for.
	Outstanding() int
}

// Verb is what a job was made by.
type Verb string

// The verbs. The blocking and the Async forms are the same.
const (
	Apply  Verb = "apply"
	Map    Verb = "map"    // Starmap too
	Stream Verb = "stream" // IMap, IMapUnordered
	Attach Verb = "attach" // made elsewhere; never of a Submission
)

// Submission is a job on its way into Redis.
type Submission struct {
	Task  string
	Queue string
	Verb  Verb
	// Headers is what observers want to travel with the job. nil at first: who adds
	// to it makes the map. Up to 8 KiB of it travel; more are dropped, all together.
	Headers map[string]string

	// Known at the end. Job is empty when the job got no ID; Calls and Chunks are
	// those of a stream too.
	Job    string
	Calls  int
	Chunks int
}

// JobOutcome is how a job ended for a pool.
type JobOutcome string

// The outcomes of jobs.
const (
	JobDone       JobOutcome = "done"        // every call has its value
	JobFailed     JobOutcome = "failed"      // every call has its outcome, and some are errors
	JobCanceled   JobOutcome = "canceled"    // by a handle, a pool, an operator; or it was forgotten
	JobNotStarted JobOutcome = "not_started" // ExpiresIn passed
	JobExpired    JobOutcome = "expired"     // Redis does not have it (any more)
	JobCorrupt    JobOutcome = "corrupt"     // its record cannot be read
	JobReleased   JobOutcome = "released"    // the pool was released before it ended
	JobError      JobOutcome = "error"       // its submission failed half way
)

// Settlement is the end of a job for a pool.
type Settlement struct {
	Job     string
	Task    string
	Queue   string
	Verb    Verb
	Calls   int
	Failed  int // calls
	Outcome JobOutcome
	// Took is the time since the submission began, or since the pool attached.
	Took time.Duration
}

// RoundTrip is one request to Redis: a command, or a pipeline of them.
type RoundTrip struct {
	Commands int
	Took     time.Duration
	// Waits says that the request waits for something to happen (BLPOP): Took says
	// nothing about Redis.
	Waits bool
	// Err is the first error. A value that is not there (redis.Nil), and a script
	// that must be sent once more with its source, are not errors.
	Err error
}

// NopPool is a Pool that does nothing.
type NopPool struct{}

// OpenPool does nothing.
func (NopPool) OpenPool(PoolState) {}

// ClosePool does nothing.
func (NopPool) ClosePool(PoolState) {}

// BeginSubmit returns ctx.
func (NopPool) BeginSubmit(ctx context.Context, _ *Submission) context.Context { return ctx }

// EndSubmit does nothing.
func (NopPool) EndSubmit(context.Context, *Submission, error) {}

// Settle does nothing.
func (NopPool) Settle(Settlement) {}

// RoundTrip does nothing.
func (NopPool) RoundTrip(RoundTrip) {}
