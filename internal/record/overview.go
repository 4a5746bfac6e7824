package record

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Overview is what the job hash says for people who look: what Snapshot says,
// without outcomes, and what only people want to know.
type Overview struct {
	Snapshot
	Owner  string        // who runs the chunk of an inline job
	Begun  int64         // when the chunk of an inline job was begun last, ms; 0: not yet
	Deaths int           // how often a worker died with a chunk of the job
	Policy string        // see Job
	TTL    time.Duration // how long the record is kept once the job is over
	Slow   []SlowCall    // the slowest calls, one of a chunk at the most, slowest first
}

var overviewFields = []string{
	"v", "gen", "task", "codec", "reply", "state", "reason", "inline", "calls", "chunks",
	"recorded", "done", "failed", "created", "finished", "sum", "cut", "start", "expires", "running", "run",
	"run:at", "deaths", "policy", "ttl", "slow",
}

// QueueOverview adds the reading of a job to a pipeline; ParseOverview takes the
// reply.
func QueueOverview(ctx context.Context, p redis.Cmdable, id string) *redis.SliceCmd {
	return p.HMGet(ctx, Keys(id)[0], overviewFields...)
}

// ParseOverview reads the reply of QueueOverview.
func ParseOverview(id string, cmd *redis.SliceCmd) (Overview, error) {
	reply, err := cmd.Result()
	if err != nil {
		return Overview{}, wrongType(err)
	}
	fields := fieldsOf(overviewFields, reply)
	s, err := parseSnapshot(id, fields)
	o := Overview{Snapshot: s, Policy: fields["policy"], Slow: parseSlow(fields["slow"])}
	if s.State == Gone || err != nil {
		return o, err
	}
	if s.Inline && !s.State.Ended() {
		o.Owner = fields["run"]
	}
	o.Begun, _ = strconv.ParseInt(fields["run:at"], 10, 64)
	o.Deaths, _ = strconv.Atoi(fields["deaths"])
	if ms, err := strconv.ParseInt(fields["ttl"], 10, 64); err == nil {
		o.TTL = time.Duration(ms) * time.Millisecond
	}
	return o, nil
}

// parseSlow reads the lines that note_slow writes.
func parseSlow(text string) []SlowCall {
	var slow []SlowCall
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(f) != 3 {
			continue
		}
		ms, err1 := strconv.ParseInt(f[0], 10, 64)
		call, err2 := strconv.Atoi(f[1])
		if err1 == nil && err2 == nil {
			slow = append(slow, SlowCall{Call: call, Took: time.Duration(ms) * time.Millisecond, Worker: f[2]})
		}
	}
	return slow
}

// ChunkRun is what the record says of a chunk that somebody runs, or has run
// without finishing it.
type ChunkRun struct {
	Chunk  int
	Owner  string // "" when it was given back
	Since  int64  // when it was begun last, ms
	Deaths int    // workers that died in it
	Saved  int    // calls that its last checkpoint finishes
}

// Runs reads the run state of chunks of a job that is not inline.
func Runs(ctx context.Context, c redis.Cmdable, id string, chunks []int) ([]ChunkRun, error) {
	if len(chunks) == 0 {
		return nil, nil
	}
	fields := make([]string, 0, 4*len(chunks))
	for _, k := range chunks {
		n := strconv.Itoa(k)
		fields = append(fields, n, n+":at", n+":lost", n+":done")
	}
	reply, err := c.HMGet(ctx, Keys(id)[4], fields...).Result()
	if err != nil {
		return nil, wrongType(err)
	}
	runs := make([]ChunkRun, len(chunks))
	for i, k := range chunks {
		text := func(f int) string { s, _ := reply[4*i+f].(string); return s }
		r := ChunkRun{Chunk: k, Owner: text(0)}
		r.Since, _ = strconv.ParseInt(text(1), 10, 64)
		r.Deaths, _ = strconv.Atoi(text(2))
		r.Saved, _ = strconv.Atoi(text(3))
		runs[i] = r
	}
	return runs, nil
}

// failedSuffix ends the names of the fields that keep the arguments of chunks
// with failed calls.
const failedSuffix = ":failed"

// FailedField is where the arguments of a chunk with failed calls are kept: the
// key and the field.
func FailedField(s Snapshot, chunk int) (key, field string) {
	if s.Inline {
		return Keys(s.ID)[0], "run" + failedSuffix
	}
	return Keys(s.ID)[4], strconv.Itoa(chunk) + failedSuffix
}

// OutField is where the outcomes of a chunk are.
func OutField(s Snapshot, chunk int) (key, field string) {
	if s.Inline {
		return Keys(s.ID)[0], "out"
	}
	return Keys(s.ID)[2], strconv.Itoa(chunk)
}

// ArgsField is where the arguments of a chunk without outcomes are.
func ArgsField(s Snapshot, chunk int) (key, field string) {
	if s.Inline {
		return Keys(s.ID)[0], "args"
	}
	return Keys(s.ID)[1], strconv.Itoa(chunk)
}

// RunFields sorts the fields of a job's run hash, which says who runs what: the
// chunks that somebody has begun, and those that failed calls are in.
func RunFields(fields []string) (begun, failed []int) {
	for _, f := range fields {
		if name, ok := strings.CutSuffix(f, failedSuffix); ok {
			if k, err := strconv.Atoi(name); err == nil {
				failed = append(failed, k)
			}
		} else if k, err := strconv.Atoi(f); err == nil {
			begun = append(begun, k)
		}
	}
	return begun, failed
}
