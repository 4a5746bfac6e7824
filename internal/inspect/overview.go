package inspect

import (
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// Overview is what a job's hash says for people: what a Snapshot says, without outcomes, and
// what only people want to know.
type Overview struct {
	job.Snapshot
	Owner  string        // the worker that runs the chunk of a job of one chunk
	Begun  int64         // when the chunk of a job of one chunk was begun last, Unix ms; 0: not yet
	Deaths int           // how often a worker died in a chunk of the job
	TTL    time.Duration // how long the record is kept once the job is over
	Slow   []SlowCall    // the slowest calls, one of a chunk at the most, slowest first
}

// SlowCall is a call that took long.
type SlowCall struct {
	Call   int // index in the job
	Took   time.Duration
	Worker string
}

// overviewFields are the fields that an Overview is read from.
var overviewFields = append(job.CountFields[:len(job.CountFields):len(job.CountFields)], "begun", "deaths", "ttl", "slow")

// parseOverview reads the reply of an HMGET of overviewFields.
func parseOverview(name string, cmd *redis.SliceCmd) (Overview, error) {
	f, err := job.FieldsOf(overviewFields, cmd)
	if err != nil {
		return Overview{}, err
	}
	single := f["chunks"] == ""
	if single && job.State(f["state"]) == job.Done {
		f["out:0"] = "" // it has its outcomes, which are not read
	}
	o := Overview{TTL: job.DefaultTTL, Slow: parseSlow(f["slow"])}
	o.Snapshot, err = job.ParseFields(name, f)
	o.Out = nil
	if err != nil || o.State == job.Gone {
		return o, err
	}
	o.Deaths, _ = strconv.Atoi(f["deaths"])
	if ms, err := strconv.ParseInt(f["ttl"], 10, 64); err == nil {
		o.TTL = time.Duration(ms) * time.Millisecond
	}
	if !single {
		return o, nil
	}
	o.Begun, _ = strconv.ParseInt(f["begun"], 10, 64)
	if owner, since, _ := job.ParseOwner(f["own:0"]); owner != "" {
		o.Begun = since
		if !o.State.Ended() {
			o.Owner = owner
		}
	}
	return o, nil
}

// parseSlow reads the field slow.
func parseSlow(text string) []SlowCall {
	var slow []SlowCall
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.SplitN(line, " ", 3)
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
