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

// Submission is one entry of Submit: a new job, or more chunks of an open one. Its Job may be changed
// until it is submitted.
type Submission struct{ *entry }

type entry struct {
	Job
	create bool
	chunks []Chunk
}

// entryBytes is about how many bytes an entry has beside its chunks and its description.
const entryBytes = 128

// Size is about how many bytes the entry has.
func (s Submission) Size() int {
	n := entryBytes + len(s.About)
	for _, c := range s.chunks {
		n += len(c.Args) + len(c.TaskID) + len(c.Message)
	}
	return n
}

// DefaultTTL is how long the record of a job without the field ttl lives once it is over.
const DefaultTTL = time.Hour

// New creates a job with its first chunks.
func New(j Job, chunks []Chunk) Submission { return Submission{&entry{j, true, chunks}} }

// Add adds chunks to an open job, which then has these totals. seal says that no more
// will come. The record lives for life from now on; 0 leaves that as it is. Chunks come in
// their order: an addition is not made before those before it are.
func Add(job Ref, calls, chunks int, seal bool, life time.Duration, more []Chunk) Submission {
	return Submission{&entry{Job{Ref: job, Calls: calls, Chunks: chunks, Open: !seal, Life: life}, false, more}}
}

// usualFields is how many fields of a new job are given, as a rule.
const usualFields = 3

// length is how many arguments append appends, as a rule.
func (s Submission) length() int { return 9 + 2*usualFields + 5*len(s.chunks) }

// append appends the entry as submit reads it. What it has stays where it is: an interface value
// that points to it needs no memory of its own.
func (s Submission) append(args []any) []any {
	what := "sealed"
	switch {
	case s.create && s.Open:
		what = "new open"
	case s.create:
		what = "new sealed"
	case s.Open:
		what = "open"
	}
	life := s.Life.Milliseconds()
	if s.create {
		life = max(1, life)
	}
	args = append(args, what, &s.Name, &s.Gen, life, s.Within.Milliseconds(), s.Calls, s.Chunks, 0, len(s.chunks))
	if fields := len(args); s.create {
		args = s.fields(args)
		args[fields-2] = (len(args) - fields) / 2
	}
	for i := range s.chunks {
		c := &s.chunks[i]
		due := ""
		if !c.Due.IsZero() {
			due = strconv.FormatInt(c.Due.Unix(), 10)
		}
		args = append(args, ArgsOf(c.Number), c.Args, &c.TaskID, c.Message, due)
	}
	return args
}

// fields appends the fields of a new job. What is left out means the default.
func (j *Job) fields(args []any) []any {
	args = append(args, "about", &j.About, "reply", &j.Pool)
	if j.Open {
		args = append(args, "state", string(Open))
	}
	if j.Calls != 1 || j.Open { // a job that grows must have its totals
		args = append(args, "calls", j.Calls)
	}
	if j.Chunks != 1 || j.Open {
		args = append(args, "chunks", j.Chunks)
	}
	if j.TTL != DefaultTTL {
		args = append(args, "ttl", j.TTL.Milliseconds())
	}
	return args
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
func Submit(ctx context.Context, c redis.UniversalClient, lane string, entries []Submission) ([]State, error) {
	n := 3
	for _, e := range entries {
		n += e.length()
	}
	args := append(begin(submitScript, lane, n), lane, publishBy(c), len(entries))
	for _, e := range entries {
		args = e.append(args)
	}
	return states(send(ctx, c, submitScript, false, args), lane, len(entries))
}
