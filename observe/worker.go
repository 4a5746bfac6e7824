package observe

import (
	"context"
	"time"
)

// Worker is told what a worker does.
type Worker interface {
	// StartWorker says that a worker is about to take deliveries. The value is
	// comparable, and StopWorker gets the same one.
	StartWorker(WorkerState)
	// StopWorker says that the worker has drained.
	StopWorker(WorkerState)

	// Deliver says what came of a delivery. It comes before BeginChunk.
	Deliver(Delivery)

	// BeginChunk begins the run of a chunk. What the context that it returns
	// carries reaches the chunk's calls.
	BeginChunk(ctx context.Context, c *Chunk) context.Context
	// EndChunk ends it.
	EndChunk(ctx context.Context, c *Chunk, end ChunkEnd)

	// BeginCall begins one run of a call. The task's function gets the context that
	// it returns.
	BeginCall(ctx context.Context, c *Call) context.Context
	// EndCall ends it. The run of a call that passed its HardTimeout ends then,
	// although its goroutine goes on.
	EndCall(ctx context.Context, c *Call, end CallEnd)

	// RoundTrip is Pool.RoundTrip.
	RoundTrip(RoundTrip)
}

// WorkerState is a running worker. Its methods cost next to nothing, and may be
// called at any time.
type WorkerState interface {
	// ID is the worker's name in the registry.
	ID() string
	// Tasks are the names of the tasks that it runs, sorted. They must not be changed.
	Tasks() []string
	// Queues are the queues that it serves, with their weights. They must not be
	// changed.
	Queues() map[string]int
	// Slots is how many calls it runs at the same time, at the most.
	Slots() int
	// Busy is how many slots are taken.
	Busy() int
	// Draining reports whether the worker takes no more deliveries: it ends.
	Draining() bool
}

// Verdict is what came of a delivery.
type Verdict string

// The verdicts.
const (
	Run       Verdict = "run"       // its chunk runs
	Lost      Verdict = "lost"      // its chunk runs, but for the call in which the last of several workers died
	Busy      Verdict = "busy"      // a worker has its chunk; the delivery waits in case that it dies
	Recorded  Verdict = "recorded"  // its chunk has its outcomes
	Ended     Verdict = "ended"     // its job is over
	Gone      Verdict = "gone"      // its job is not in Redis
	Elsewhere Verdict = "elsewhere" // its task is not known here, but by another worker
	Foreign   Verdict = "foreign"   // another program's task is in the queue
	Draining  Verdict = "draining"  // the worker ends
	Refused   Verdict = "refused"   // its record cannot be read: the job is canceled
)

// Delivery is one delivery as it was taken.
type Delivery struct {
	Job   string // empty: Foreign
	Chunk int
	Task  string
	Queue string
	// Number counts the times that the chunk was issued; 1 is the first.
	Number  int
	Verdict Verdict
	// Deaths is how many workers have died in the chunk.
	Deaths int
	// Wait is the time from the submission (or the start of a delayed job) until
	// the chunk began, by the clocks of producer and worker; never negative, and
	// known for the first begin of a chunk only: Waited says whether it is.
	Wait   time.Duration
	Waited bool
}

// Chunk is a chunk that runs.
type Chunk struct {
	Job    string
	Chunk  int
	Task   string
	Queue  string
	Worker string
	// Number counts the times that the chunk was issued; 1 is the first.
	Number int
	// Headers is what the submission's observers gave the job. They must not be
	// changed.
	Headers map[string]string
}

// ChunkFate is how the run of a chunk ended.
type ChunkFate string

// The fates.
const (
	ChunkRecorded  ChunkFate = "recorded"   // its outcomes are in the record
	ChunkUnwanted  ChunkFate = "unwanted"   // it ran, but others have recorded it, or its job was over
	ChunkCanceled  ChunkFate = "canceled"   // its job ended meanwhile
	ChunkTaken     ChunkFate = "taken"      // another worker has taken it over
	ChunkPutBack   ChunkFate = "put_back"   // it waits for the next attempt of failed calls
	ChunkGivenBack ChunkFate = "given_back" // it goes on at another worker: this one ends
	ChunkRefused   ChunkFate = "refused"    // its record cannot be read: the job is canceled
)

// ChunkEnd is the end of a chunk's run.
type ChunkEnd struct {
	Fate ChunkFate
	// Calls is the number of calls in the chunk; 0 when the chunk was refused.
	Calls int
	// Failed counts its failed calls by kind of failure (wire's: error, panic,
	// goexit, timeout, bad_argument, bad_result, unknown_task, worker_lost). nil
	// when there are none. They count for the job only if Fate is ChunkRecorded.
	Failed map[string]int
	// Err is why, in words: of failed calls the first one, or what ended the run.
	Err error
}

// Call is one run of a call.
type Call struct {
	Job     string
	Chunk   int
	Call    int // index in the job
	Task    string
	Queue   string
	Worker  string
	Attempt int // 1 is the first
}

// CallResult is how one run of a call ended.
type CallResult string

// The results of runs.
const (
	CallOK          CallResult = "ok"
	CallFailed      CallResult = "failed"      // it returned an error, panicked, or called runtime.Goexit; perhaps to run again
	CallTimeout     CallResult = "timeout"     // its CallTimeout or HardTimeout passed
	CallInterrupted CallResult = "interrupted" // its job is over, or the worker ended
)

// CallEnd is the end of one run of a call.
type CallEnd struct {
	Result CallResult
	// Err is why the call has no value; nil with CallOK. That of a panic holds its
	// value.
	Err  error
	Took time.Duration
}

// NopWorker is a Worker that does nothing.
type NopWorker struct{}

// StartWorker does nothing.
func (NopWorker) StartWorker(WorkerState) {}

// StopWorker does nothing.
func (NopWorker) StopWorker(WorkerState) {}

// Deliver does nothing.
func (NopWorker) Deliver(Delivery) {}

// BeginChunk returns ctx.
func (NopWorker) BeginChunk(ctx context.Context, _ *Chunk) context.Context { return ctx }

// EndChunk does nothing.
func (NopWorker) EndChunk(context.Context, *Chunk, ChunkEnd) {}

// BeginCall returns ctx.
func (NopWorker) BeginCall(ctx context.Context, _ *Call) context.Context { return ctx }

// EndCall does nothing.
func (NopWorker) EndCall(context.Context, *Call, CallEnd) {}

// RoundTrip does nothing.
func (NopWorker) RoundTrip(RoundTrip) {}
