package job

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Job is what is known of a job when it is created.
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

// defaultTTL is how long the record of a job without the field ttl lives once it is over.
const defaultTTL = time.Hour

// New creates a job with its first chunks.
func New(j Job, chunks []Chunk) Submission {
	fields := append(make([]any, 0, 16), "about", j.About, "reply", j.Pool)
	what := "new " + string(Sealed)
	if j.Open {
		what = "new " + string(Open)
		fields = append(fields, "state", string(Open))
	}
	fields = append(fields, totals(j.Calls, j.Chunks, j.Open)...)
	if j.TTL != defaultTTL {
		fields = append(fields, "ttl", j.TTL.Milliseconds())
	}
	return submission(what, j.Ref, j.Life, j.Within, fields, chunks)
}

// Add adds chunks to an open job, which then has these totals. seal says that no more
// will come. The record lives for life from now on; 0 leaves that as it is.
func Add(job Ref, calls, chunks int, seal bool, life time.Duration, more []Chunk) Submission {
	what := Open
	if seal {
		what = Sealed
	}
	return submission(string(what), job, life, 0, totals(calls, chunks, true), more)
}

// totals are the fields calls and chunks, where they have not their defaults. A job that
// grows must have both.
func totals(calls, chunks int, grows bool) []any {
	var fields []any
	if calls != 1 || grows {
		fields = append(fields, "calls", calls)
	}
	if chunks != 1 || grows {
		fields = append(fields, "chunks", chunks)
	}
	return fields
}

func submission(what string, job Ref, life, within time.Duration, fields []any, chunks []Chunk) Submission {
	args := make([]any, 0, 8+len(fields)+5*len(chunks))
	args = append(args, what, job.Name, job.Gen, life.Milliseconds(), within.Milliseconds(), len(fields)/2)
	args = append(args, fields...)
	args = append(args, len(chunks))
	for _, c := range chunks {
		due := ""
		if !c.Due.IsZero() {
			due = fmt.Sprint(c.Due.Unix())
		}
		args = append(args, c.Number, c.Args, c.TaskID, c.Message, due)
	}
	return Submission{args}
}

// The further answers of Submit.
const (
	Exists   State = "exists"   // the name of a new job is taken
	Unstored State = "unstored" // a large frame among the arguments is not there
)

// Submit makes the submissions, in this order, in one lane. It answers the state of each
// job after its submission; what that is of a job that did not grow says why. Without an answer it is
// not known which of them were made, and sending them again is safe.
func Submit(ctx context.Context, c redis.Scripter, lane string, entries []Submission) ([]State, error) {
	n := 2
	for _, e := range entries {
		n += len(e.args)
	}
	args := append(make([]any, 0, n), lane, len(entries))
	for _, e := range entries {
		args = append(args, e.args...)
	}
	return states(run(ctx, c, submitScript, lane, args), lane, len(entries))
}
