// Package record is the job record: the state of every job in Redis, and the
// only code that reads or changes it. Each transition is one Lua script under
// lua/, so that it is atomic, whoever else is at work on the same job.
//
// The record is the truth; asynq only delivers. A chunk's arguments are in the
// record until its outcomes are: so any chunk can be delivered again by anyone
// at any time, and whoever records second is told so and changes nothing.
package record

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// schemaVersion is stored in every record but short ones (see short.go). A reader that
// meets another one must not guess.
const schemaVersion = 1

// State of a job.
type State string

// The states of a job. Open and Sealed jobs are alive.
const (
	Open     State = "open"     // more chunks may come
	Sealed   State = "sealed"   // all chunks are known
	Done     State = "done"     // every chunk has its outcomes
	Canceled State = "canceled" // ended before its time

	// These are never stored as a state: Gone is the state of a job that does not exist,
	// Forgotten is announced when a live job is removed, and Unstarted when one is
	// canceled because it was not begun in time.
	Gone      State = "gone"
	Forgotten State = "forgotten"
	Unstarted State = "unstarted"
	Untrusted State = "untrusted" // canceled because a worker refused its signature
	Missing   State = "missing"   // canceled because Redis has lost a part of it
	Corrupt   State = "corrupt"   // canceled because its record contradicts itself
)

// Ended reports whether nothing more will be recorded.
func (s State) Ended() bool { return s != Open && s != Sealed }

// Ref names a job. ID is its address, QUEUE/NAME. Gen tells jobs apart that had the same
// address, one after the other: it is set for names that the caller chose, and empty for
// those that were drawn.
type Ref struct{ ID, Gen string }

// String is how notices and announcements name the job. The name in the address has no colon.
func (r Ref) String() string {
	if r.Gen == "" {
		return r.ID
	}
	return r.ID + ":" + r.Gen
}

// ParseRef undoes String.
func ParseRef(s string) Ref {
	name := strings.LastIndexByte(s, '/') + 1
	if i := strings.IndexByte(s[name:], ':'); i >= 0 {
		return Ref{s[:name+i], s[name+i+1:]}
	}
	return Ref{ID: s}
}

// Job is what is known of a job when it is created.
type Job struct {
	ID        string // its address
	Gen       string // see Ref
	Task      string
	Codec     string
	Reply     string        // channel for notices
	Policy    string        // what the job says about retries and limits (call.Policy); may be empty
	Headers   string        // what the submission's observers want the workers' to know (JSON); may be empty
	Calls     int           // known so far
	Chunks    int           // known so far
	Sealed    bool          // no more will come
	OpenTTL   time.Duration // the record lives at least this long while the job is not over
	ResultTTL time.Duration // and this long afterwards

	Start  time.Time     // not before this; zero: at once. The deliveries say so, this is for those who send them again
	Within time.Duration // it is canceled unless a chunk begins within this time of its creation; 0: no limit

	// Of a job whose ID the caller chose; empty otherwise.
	Sum string // digest of what was submitted, to tell the same job from another one
	Cut string // how it is cut into chunks, for whoever completes it

	Sig string // signature of all this; empty while signing is off
}

// Inline reports whether the job keeps its only chunk in the job hash.
func (j Job) Inline() bool { return j.Sealed && j.Chunks == 1 }

// Chunk is a chunk's number and its framed arguments (see package wire).
type Chunk struct {
	Number int
	Args   []byte
	Apart  bool // large arguments may be kept apart from the record: all that will read them know that
}

// Create makes the job with its first chunks. The reply (Cmd.Int) is 1, or 0
// when the ID exists already.
func Create(j Job, chunks []Chunk) Op {
	state := Open
	if j.Sealed {
		state = Sealed
	}
	fields := []any{
		"v", schemaVersion, "id", Ref{j.ID, j.Gen}.String(), "task", j.Task, "codec", j.Codec, "reply", j.Reply,
		"state", string(state), "calls", j.Calls, "chunks", j.Chunks, "ttl", j.ResultTTL.Milliseconds(),
		"big", 1, // we read outcomes that are large, or in the raw form
	}
	if j.Gen != "" {
		fields = append(fields, "gen", j.Gen)
	}
	if j.Policy != "" {
		fields = append(fields, "policy", j.Policy)
	}
	if j.Headers != "" {
		fields = append(fields, "headers", j.Headers)
	}
	if j.Inline() {
		fields = append(fields, "inline", 1)
	}
	if !j.Start.IsZero() {
		fields = append(fields, "start", j.Start.UnixMilli())
	}
	if j.Within > 0 {
		fields = append(fields, "within", max(1, j.Within.Milliseconds()))
	}
	if j.Sum != "" {
		fields = append(fields, "sum", j.Sum, "cut", j.Cut)
	}
	if j.Sig != "" {
		fields = append(fields, "sig", j.Sig)
	}
	args := make([]any, 0, 2+len(fields)+2*len(chunks))
	args = append(args, j.OpenTTL.Milliseconds(), len(fields)/2)
	args = append(args, fields...)
	for _, c := range chunks {
		args = append(args, c.Number, frameArg(j.ID, c.Args, c.Apart))
	}
	return Op{createScript, Keys(j.ID), args}.declared()
}

// Add adds chunks to an open job, which then has the given totals, and seals it
// if asked. The reply (Cmd.Text) is the State after this. Adding the same chunk
// twice changes nothing.
func Add(job Ref, calls, chunks int, seal bool, more []Chunk) Op {
	return Extend(job, calls, chunks, seal, 0, more)
}

// Extend is Add for a job that may stay open for longer than it was given to
// live: from now on it lives for ttl, unless that is 0 or the job is over.
func Extend(job Ref, calls, chunks int, seal bool, ttl time.Duration, more []Chunk) Op {
	args := make([]any, 0, 5+2*len(more))
	args = append(args, calls, chunks, flag(seal), ttl.Milliseconds(), job.Gen)
	for _, c := range more {
		args = append(args, c.Number, frameArg(job.ID, c.Args, c.Apart))
	}
	return Op{addScript, Keys(job.ID), args}.declared()
}

// maxConsumed is how many chunks one run of the consume script is given: Lua
// unpacks a few thousand values at the most.
const maxConsumed = 1000

// Consume removes the outcomes of chunks from the record, for a job whose
// outcomes are wanted by one reader only, who has them. The counts stay.
func Consume(ctx context.Context, c redis.Scripter, id string, chunks []int) error {
	for len(chunks) > 0 {
		n := min(maxConsumed, len(chunks))
		args := make([]any, n)
		for i, chunk := range chunks[:n] {
			args[i] = chunk
		}
		if err := (Op{consumeScript, Keys(id), args}).Run(ctx, c).Err(); err != nil {
			return err
		}
		chunks = chunks[n:]
	}
	return nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// Verdict is begin's answer.
type Verdict string

// The verdicts of Begin.
const (
	Run      Verdict = "run"      // run it
	Lost     Verdict = "lost"     // as Run, but give up the call in which the last worker died: the budget is used up
	Busy     Verdict = "busy"     // another worker runs it
	Recorded Verdict = "recorded" // it has its outcomes
	EndedJob Verdict = "ended"    // its job is over
	GoneJob  Verdict = "gone"     // its job does not exist
)

// Begun is the answer to Begin. Which fields are set depends on the verdict.
type Begun struct {
	Verdict  Verdict
	State    State  // EndedJob: how the job ended
	Owner    string // Busy: who runs it
	Delivery int    // Run: 1 plus the workers that died in it; Lost: the workers that died
	Args     []byte // Run, Lost: the framed arguments, or the reference to large ones (see Whole)
	Task     string // Run, Lost
	Codec    string // Run, Lost
	Calls    int    // Run, Lost: calls of the job, as far as known
	Partial  []byte // Run, Lost: what an earlier owner saved (wire.Partial), or the reference to it
	Policy   string // Run, Lost: what the job says about retries and limits (call.Policy)
	Headers  string // Run, Lost: see Job
	Inline   bool   // the job is known to be inline: only Fetch says so
	Big      bool   // Run, Lost: outcomes may be kept apart, and be in the raw form: all that will read them know that
}

// Begin asks whether worker may run the chunk, and makes it the owner if so.
// from names an owner known to be dead, from whom the chunk may be taken.
func Begin(ctx context.Context, c redis.Scripter, job Ref, chunk int, worker, from string, budget int) (Begun, error) {
	reply, err := Op{beginScript, Keys(job.ID), []any{chunk, worker, from, budget, job.Gen}}.Run(ctx, c).Slice()
	if err != nil {
		return Begun{}, err
	}
	b, err := parseBegun(reply)
	if err != nil {
		return Begun{}, fmt.Errorf("%w: job %s, chunk %d: %w", errCorrupt, job.ID, chunk, err)
	}
	return b, nil
}

func parseBegun(reply []any) (Begun, error) {
	text := func(i int) string {
		if i >= len(reply) {
			return ""
		}
		s, _ := reply[i].(string)
		return s
	}
	count := func(i int) int {
		if i < len(reply) {
			if n, ok := reply[i].(int64); ok {
				return int(n)
			}
		}
		return 0
	}
	b := Begun{Verdict: Verdict(text(0))}
	switch b.Verdict {
	case GoneJob, Recorded:
	case EndedJob:
		b.State = State(text(1))
	case Busy:
		b.Owner = text(1)
	case Run, Lost:
		b.Delivery, b.Args, b.Codec, b.Partial = count(1), []byte(text(2)), text(3), []byte(text(5))
		b.Task, b.Policy, b.Headers, b.Big = text(6), text(7), text(8), text(9) == "1"
		n, err := strconv.Atoi(text(4))
		if err != nil || n < 0 || n > maxCount {
			return Begun{}, fmt.Errorf("field calls is %.40q, not a count", text(4))
		}
		b.Calls = n
	default:
		return Begun{}, fmt.Errorf("unknown reply %v: is another version of distpool at work on this Redis?", reply)
	}
	return b, nil
}

// Result is record's answer.
type Result string

// The answers of Record. All but OK mean that nothing was changed.
const (
	OK              Result = "ok"
	AlreadyRecorded Result = "recorded"
	WasCanceled     Result = "canceled"
	WasGone         Result = "gone"
)

// Record stores the framed outcomes of a chunk, of which failed calls failed.
// Outcomes of up to inline bytes travel inside the notice.
func Record(ctx context.Context, c redis.Scripter, job Ref, chunk int, outcome []byte, calls, failed, inline int) (Result, error) {
	return Recording{Outcome: outcome, Calls: calls, Failed: failed, Inline: inline}.Run(ctx, c, job, chunk)
}

// SlowCall is the slowest call of a chunk.
type SlowCall struct {
	Call   int           // index in the job
	Took   time.Duration // under 1 ms: not worth remembering
	Worker string
}

// Recording is what Record stores of a chunk, with its slowest call. The job
// remembers the slowest ones of all, one of a chunk at the most.
type Recording struct {
	Outcome               []byte
	Calls, Failed, Inline int // as in Record
	Slow                  SlowCall
	Apart                 bool   // large outcomes are kept apart from the record: see Begun.Big
	Spent                 []byte // Begun.Args, which are not needed any more
}

// args are the arguments of the scripts, see lua/recording.lua.
func (r Recording) args(job Ref, chunk int) []any {
	ms := ""
	if r.Slow.Took >= time.Millisecond {
		ms = strconv.FormatInt(r.Slow.Took.Milliseconds(), 10)
	}
	return []any{chunk, frameArg(job.ID, r.Outcome, r.Apart), r.Calls, r.Failed, r.Inline, job.Gen, ms, strconv.Itoa(r.Slow.Call) + " " + r.Slow.Worker}
}

// Run is Record. What is repeated must be Op.
func (r Recording) Run(ctx context.Context, c redis.Scripter, job Ref, chunk int) (Result, error) {
	s, err := r.Op(job, chunk).Run(ctx, c).Text()
	return Result(s), err
}

// Op is the recording, which may be run again and again. The reply (Cmd.Text) is the
// Result.
func (r Recording) Op(job Ref, chunk int) Op {
	op := Op{recordScript, Keys(job.ID), r.args(job, chunk)}.declared()
	op.keys = append(op.keys, keysOfReference(job.ID, r.Spent)...)
	return op
}

// Release gives the chunk back on purpose, with the partial outcomes (may be
// nil) of done calls. It reports whether the chunk was worker's.
func Release(ctx context.Context, c redis.Scripter, job Ref, chunk int, worker string, partial []byte, done int) (bool, error) {
	n, err := Op{releaseScript, Keys(job.ID), []any{chunk, worker, frameArg(job.ID, partial, true), done, job.Gen}}.declared().Run(ctx, c).Int()
	return n == 1, err
}

// Checkpoint saves what a running chunk has so far (partial may be nil), of which
// done calls are finished. It returns the job's state, or LostOwnership when the
// chunk is not worker's any more.
func Checkpoint(ctx context.Context, c redis.Scripter, job Ref, chunk int, worker string, partial []byte, done int) (State, error) {
	s, err := Op{checkpointScript, Keys(job.ID), []any{chunk, worker, frameArg(job.ID, partial, true), done, job.Gen}}.declared().Run(ctx, c).Text()
	return State(s), err
}

// LostOwnership is Checkpoint's answer to a worker that does not own the chunk.
const LostOwnership State = "lost"

// Cancel ends a live job and tells its producer and the workers. It returns the
// job's state after that: Canceled, Done (too late), or Gone.
func Cancel(ctx context.Context, c redis.Scripter, id, reason string) (State, error) {
	s, err := Op{cancelScript, Keys(id), []any{reason, Control}}.Run(ctx, c).Text()
	return State(s), err
}

// CancelOp is Cancel for a pipeline.
func CancelOp(id, reason string) Op { return Op{cancelScript, Keys(id), []any{reason, Control}} }

// ExpireOp ends a job of which no chunk was begun in time. The reply (Cmd.Int)
// is the time that it has left, in ms; 0 when it was ended now; -1 when there is
// nothing (more) to wait for.
func ExpireOp(id string) Op { return Op{expireScript, Keys(id), nil} }

// Forget removes every trace of a job; a live one is canceled by that. It
// returns the state that the job was in, or Gone.
func Forget(ctx context.Context, c redis.Scripter, id string) (State, error) {
	s, err := Op{forgetScript, Keys(id), []any{Control}}.Run(ctx, c).Text()
	return State(s), err
}

// maxRings bounds how many rings wait in a bell, and so how many idle workers
// one submission wakes at once.
const maxRings = 256

// Ring wakes up to n idle workers of the queue.
func Ring(queue string, n int) Op {
	return Op{ringScript, []string{BellKey(queue)}, []any{min(n, maxRings), maxRings}}
}
