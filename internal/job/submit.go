package job

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Job describes a job when it is created.
type Job struct {
	Ref
	About  string // About.Encode
	Pool   string // the pool that hears of its outcomes
	Calls  int    // known so far
	Chunks int    // known so far
	Open   bool   // more will come

	Life   time.Duration // the record lives this long while the job is not over
	TTL    time.Duration // and this long afterwards
	Within time.Duration // it is canceled unless a chunk begins within this time; 0: no limit
}

// Chunk is one chunk with its delivery.
type Chunk struct {
	Number  int
	Args    []byte    // framed (see package wire)
	TaskID  string    // of its delivery; empty: it gets none now
	Message []byte    // asynq's
	Due     time.Time // not before this, in whole seconds; the zero time is now
}

// Submission is one entry of Submit: a new job, or more chunks of an open one.
type Submission struct{ args []any }

// Size is about how many bytes the entry has.
func (s Submission) Size() int { return sizeOf(s.args) }

func sizeOf(args []any) int {
	n := 0
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			n += len(a)
		case string:
			n += len(a)
		default:
			n += 8
		}
	}
	return n
}

// DefaultTTL is how long the record of a job without the field ttl lives once it is over.
const DefaultTTL = time.Hour

// New creates a job with its first chunks. Life must be at least a millisecond.
func New(j Job, chunks []Chunk) Submission {
	fields := append(make([]any, 0, 12), "about", j.About, "reply", j.Pool)
	state := Sealed
	if j.Open {
		state = Open
		fields = append(fields, "state", string(Open))
	}
	if j.Calls != 1 || j.Open { // a job that grows must have its totals
		fields = append(fields, "calls", j.Calls)
	}
	if j.Chunks != 1 || j.Open {
		fields = append(fields, "chunks", j.Chunks)
	}
	if j.TTL != DefaultTTL {
		fields = append(fields, "ttl", j.TTL.Milliseconds())
	}
	return submission("new "+string(state), j.Ref, max(j.Life, time.Millisecond), j.Within, j.Calls, j.Chunks, fields, chunks)
}

// Add adds chunks to an open job, which then has these totals. seal says that no more
// will come. The record lives for life from now on; 0 leaves that as it is. Chunks come in
// their order: an addition is not made before those before it are.
func Add(job Ref, calls, chunks int, seal bool, life time.Duration, more []Chunk) Submission {
	state := Open
	if seal {
		state = Sealed
	}
	return submission(string(state), job, life, 0, calls, chunks, nil, more)
}

func submission(what string, job Ref, life, within time.Duration, calls, total int, fields []any, chunks []Chunk) Submission {
	args := make([]any, 0, 9+len(fields)+5*len(chunks))
	args = append(args, what, job.Name, job.Gen, life.Milliseconds(), within.Milliseconds(), calls, total, len(fields)/2, len(chunks))
	args = append(args, fields...)
	for _, c := range chunks {
		due := ""
		if !c.Due.IsZero() {
			due = strconv.FormatInt(c.Due.Unix(), 10)
		}
		args = append(args, string(ArgsOf(c.Number)), c.Args, c.TaskID, c.Message, due)
	}
	return Submission{args}
}

// The further answers of Submit. None of these entries was made.
const (
	Exists   State = "exists"   // the name of a new job is taken
	Gap      State = "gap"      // chunks before these are not there yet
	Unstored State = "unstored" // a large frame among the arguments is not there
	Broken   State = "damaged"  // the record is not a job's
)

// Submit makes the submissions, in this order, in one lane. It answers the state of each
// job after its submission; the state of a job that did not grow says why. Without an answer it is
// not known which of them were made, and sending them again is safe as long as their records
// are not removed meanwhile: a job may be forgotten only when its submission has an answer.
func Submit(ctx context.Context, c redis.Scripter, lane string, entries []Submission) ([]State, error) {
	n := 3
	for _, e := range entries {
		n += len(e.args)
	}
	args := append(make([]any, 0, n), lane, publishBy(c), len(entries))
	for _, e := range entries {
		args = append(args, e.args...)
	}
	return states(run(ctx, c, submitScript, lane, args), lane, len(entries))
}
