package execute

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/internal/wire"
)

// waitHere is the longest wait for the next attempts of failed calls that is spent in the
// slot. For longer waits the chunk is put off.
const waitHere = 100 * time.Millisecond

// Chunk is what is to be run.
type Chunk struct {
	Job     string
	Number  int // of the chunk in its job
	Task    string
	Queue   string
	Codec   string // in which the job is encoded
	Policy  string // of the job: see call.ParsePolicy
	Total   int    // calls of the job that are known
	Deaths  int    // workers that died in the chunk
	By      int    // the number of the delivery by which it runs
	Args    []byte // a frame of package wire
	Partial []byte // a frame of package wire: what an earlier run saved; empty: nothing
	Pass    *Pass  // the right to run. The caller ends it
}

// Executor runs the chunks of one worker. Its exported fields must not change while a chunk
// runs. The functions must be safe for concurrent use, and must not block.
type Executor struct {
	Worker    string               // the worker's ID
	Tasks     map[string]call.Task // by name
	MaxResult int                  // the largest encoded value of a call, in bytes
	MaxDeaths int                  // when so many workers have died in a chunk, a call of it is given up
	Exact     bool                 // each call is counted when it ends, not a few together

	Serving context.Context // no call begins once it has ended
	Waits   *nested.Waits   // of calls, for nested jobs
	// Count adds calls that ended, and the time that they took together.
	Count func(calls int, took time.Duration)
	// CountFailure adds a call that failed for good.
	CountFailure func()
	// Recycle is called when foreign code has passed its HardTimeout. It keeps its
	// goroutine, so the process should end.
	Recycle func()

	Observers *observers.Worker // of calls; nil: neither they nor the debug log want to know of calls
	Debug     bool              // the log wants to know how each call ended
	Log       *slog.Logger

	alone sync.RWMutex // held for writing by a chunk that must not run beside others, for reading by the others; see Pass
}

// Host is what a run asks for while it runs.
type Host interface {
	// OpenArgs decrypts the arguments of a chunk, whose frame has been parsed.
	OpenArgs(t call.Task, first, calls int, data []byte) ([]byte, error)
	// OpenPartial decrypts what an earlier run saved.
	OpenPartial(p wire.Partial) (wire.Partial, error)
	// Save saves a checkpoint, by the deadline of ctx. A checkpoint that cannot be saved
	// costs nothing but work that is done again. If the job is over, or the chunk is another
	// worker's, Save cancels the context of the run.
	Save(ctx context.Context, p wire.Partial)
}

// Run is one run of a chunk on this worker. One goroutine at a time works on it: see
// routine. It is not safe for concurrent use.
type Run struct {
	on    *Executor
	chunk *Chunk
	host  Host
	ctx   context.Context // of the calls

	number int // 1, and one more for each worker that died in the chunk
	first  int // index in the job of the chunk's first call
	policy call.Policy
	values call.Chunk    // arguments and values; nil: the chunk did not open
	loads  bool          // calls decode their arguments one by one
	limit  time.Duration // of foreign code that runs for the whole chunk; 0: none
	progress
	saved    time.Time     // when the last checkpoint was
	every    time.Duration // between two of them
	watch    stopwatch
	contexts contexts
}

// End is how a run ended.
type End int

// The ends of a run.
const (
	// Finished: each call has its outcome. It is to be recorded.
	Finished End = iota
	// Interrupted: the worker drains, or the context ended. Unless its cause says
	// otherwise, another worker is to go on with the Partial.
	Interrupted
	// Abandoned: a call did not end in time and keeps its goroutine, so this worker ends.
	// Another worker is to go on with the Partial, when it is due.
	Abandoned
	// Postponed: failed calls wait for their next attempt, for longer than a slot should be
	// held. The Partial is to be run when it is due.
	Postponed
	// Damaged: the chunk contradicts itself. Its job cannot end properly.
	Damaged
)

// Result is what a run came to.
type Result struct {
	End   End
	Stuck bool      // a call was abandoned: its goroutine holds the slot
	Due   time.Time // Abandoned, Postponed: when the calls that failed may run again; zero: now

	// Of a Postponed run.
	Wait    time.Duration   // until Due
	Waiting int             // calls that failed and are to run again
	Last    *wire.CallError // the last of their failures in this run; nil: none

	Err error // Damaged: why
}

// New returns the run of a chunk, which must not change once Do has started it.
func (e *Executor) New(c *Chunk, h Host) *Run {
	r := &Run{on: e, chunk: c, host: h}
	r.watch.count = e.Count
	return r
}

// Do runs the chunk. ctx is the context of its calls; whatever ends the run early cancels
// it, and says why in its cause.
func (r *Run) Do(ctx context.Context) Result {
	r.ctx, r.number = ctx, r.chunk.Deaths+1
	first, n, data, err := wire.ParseArgs(r.chunk.Args)
	if err != nil {
		return Result{End: Damaged, Err: err}
	}
	r.first, r.calls = first, n
	r.saved, r.every = time.Now(), saveEvery
	if first+n > r.chunk.Total {
		// The frame contradicts the record: its number of calls is no measure of how
		// many failures to report.
		return Result{End: Damaged, Err: fmt.Errorf("arguments of calls %d to %d in a job of %d calls", first, first+n-1, r.chunk.Total)}
	}
	if kind, why := r.open(data); why != nil {
		r.failRest(kind, why.Error())
		return Result{End: Finished}
	}
	due, err := r.resume()
	if err != nil {
		return Result{End: Damaged, Err: err}
	}
	if r.chunk.Deaths >= r.on.MaxDeaths {
		r.number = 1 // the count starts anew for the other calls
		r.blame()
	}
	r.decode()
	switch left := time.Until(due); {
	case left > waitHere+time.Second:
		return r.postponed(left, due)
	case !Pause(ctx, left):
		return Result{End: Interrupted}
	}
	return r.runCalls()
}

// Pause waits for d; false when ctx ends meanwhile.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A chunk that runs long saves its progress each saveEvery. When saving itself takes long
// it is done less often, so that a twentieth of the time goes into it, but at least each
// saveLast: the price of a death must not grow to minutes because one request hung.
const (
	saveEvery = time.Second
	saveLast  = 20 * time.Second
	saveTime  = 5 * time.Second // the deadline of one checkpoint
)

// checkpoint saves the progress. The context of the run tells whether to go on.
func (r *Run) checkpoint() {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.ctx, saveTime)
	defer cancel()
	p, _ := r.Partial(time.Time{})
	r.host.Save(ctx, p)
	r.saved = time.Now()
	r.every = untilNextSave(r.saved.Sub(began))
}

// untilNextSave is the time between a checkpoint that took so long and the next one.
func untilNextSave(took time.Duration) time.Duration {
	return min(max(saveEvery, 20*took), saveLast)
}

// Chunk names the chunk to those who look at the waits of its calls.
func (r *Run) Chunk() (job string, chunk int) { return r.chunk.Job, r.chunk.Number }

// Logger is the chunk's log.
func (r *Run) Logger() *slog.Logger {
	return r.on.Log.With("job", r.chunk.Job, "chunk", r.chunk.Number, "task", r.chunk.Task)
}
