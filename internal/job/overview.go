package job

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Overview is what a job's hash says for people: what Snapshot says, without outcomes, and
// what only people want to know.
type Overview struct {
	Snapshot
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

var overviewFields = []string{
	"about", "gen", "reply", "state", "reason", "calls", "chunks", "recorded", "done", "failed", "running",
	"created", "finished", "expires", "own:0", "counted:0", "begun", "deaths", "ttl", "slow",
}

// QueueOverview adds the reading of a job to a pipeline; ParseOverview takes the reply.
func QueueOverview(ctx context.Context, p redis.Cmdable, lane, name string) *redis.SliceCmd {
	return p.HMGet(ctx, Key(lane, name), overviewFields...)
}

// ParseOverview reads the reply of QueueOverview.
func ParseOverview(name string, cmd *redis.SliceCmd) (Overview, error) {
	f, err := fieldsOf(overviewFields, cmd)
	if err != nil {
		return Overview{}, err
	}
	single := f["chunks"] == ""
	if single && State(f["state"]) == Done {
		f["out:0"] = "" // it has its outcomes, which are not read
	}
	o := Overview{TTL: defaultTTL, Slow: parseSlow(f["slow"])}
	o.Snapshot, err = parseSnapshot(name, f)
	o.Out = nil
	if err != nil || o.State == Gone {
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
	if owner, since, _ := parseOwner(f["own:0"]); owner != "" {
		o.Begun = since
		if !o.State.Ended() {
			o.Owner = owner
		}
	}
	return o, nil
}

// parseOwner reads a field own:K: the worker, since when it runs the chunk (Unix, ms), and by
// which delivery; 0 where the field does not say.
func parseOwner(own string) (worker string, since int64, number int) {
	worker, rest, _ := strings.Cut(own, " ")
	at, by, _ := strings.Cut(rest, " ")
	since, _ = strconv.ParseInt(at, 10, 64)
	number, _ = strconv.Atoi(by)
	return worker, since, number
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

// ChunkRun is a chunk that a worker runs, or has run without finishing it.
type ChunkRun struct {
	Chunk  int
	Owner  string // empty: it was given back
	Since  int64  // when that worker took it, Unix ms
	Deaths int    // workers that died in it
	Saved  int    // calls that its last checkpoint finishes
}

// Runs reads how chunks of a job are run.
func Runs(ctx context.Context, c redis.Cmdable, lane, name string, chunks []int) ([]ChunkRun, error) {
	if len(chunks) == 0 {
		return nil, nil
	}
	fields := make([]string, 0, 3*len(chunks))
	for _, k := range chunks {
		n := strconv.Itoa(k)
		fields = append(fields, "own:"+n, "lost:"+n, "counted:"+n)
	}
	reply, err := c.HMGet(ctx, Key(lane, name), fields...).Result()
	if err != nil {
		return nil, damaged(err)
	}
	runs := make([]ChunkRun, len(chunks))
	for i, k := range chunks {
		text := func(f int) string { s, _ := reply[3*i+f].(string); return s }
		r := ChunkRun{Chunk: k}
		r.Owner, r.Since, _ = parseOwner(text(0))
		r.Deaths, _ = strconv.Atoi(text(1))
		r.Saved, _ = strconv.Atoi(text(2))
		runs[i] = r
	}
	return runs, nil
}

// Stand is how a chunk stands.
type Stand byte

// How a chunk stands.
const (
	Waits     Stand = 'w' // no worker runs it
	GivenBack Stand = 'b' // the same, and a worker has run it
	IsRun     Stand = 'r' // a worker runs it
	HasFailed Stand = 'f' // it has its outcomes, and some calls failed
	HasValues Stand = 'd' // it has its outcomes
)

// Standing says how those chunks of a job stand of which the record has something. The others
// have values, if the job was not canceled: the record of a canceled job may lack arguments.
// Outcomes that a stream has consumed are in neither. ok is false if the record has more than so
// many fields, and nothing was read. The names of all fields are read, none of the values.
func Standing(ctx context.Context, c redis.Cmdable, lane, name string, fields int) (stands map[int]Stand, ok bool, err error) {
	n, err := c.HLen(ctx, Key(lane, name)).Result()
	if err != nil || n > int64(fields) {
		return nil, false, damaged(err)
	}
	names, err := c.HKeys(ctx, Key(lane, name)).Result()
	if err != nil {
		return nil, false, damaged(err)
	}
	rank := map[string]Stand{"own": IsRun, "lost": GivenBack, "counted": GivenBack, "args": Waits, "kept": HasFailed, "out": HasValues}
	strongest := string([]byte{byte(HasValues), byte(HasFailed), byte(Waits), byte(GivenBack), byte(IsRun)})
	stands = make(map[int]Stand)
	for _, field := range names {
		kind, number, _ := strings.Cut(field, ":")
		is, known := rank[kind]
		k, err := parseCount(number)
		if !known || err != nil {
			continue
		}
		if was := stands[k]; strings.IndexByte(strongest, byte(is)) >= strings.IndexByte(strongest, byte(was)) {
			stands[k] = is
		}
	}
	return stands, true, nil
}

// maxStands bounds the commands of one round trip of Stands.
const maxStands = 1000

// Stands says how some chunks of a job stand, which may be canceled. It does not tell GivenBack
// and IsRun from Waits.
func Stands(ctx context.Context, c redis.Cmdable, lane, name string, chunks []int, canceled bool) ([]Stand, error) {
	tells := ArgsOf // it has outcomes unless this is there; of a canceled job, if it is there
	if canceled {
		tells = OutOf
	}
	all := make([]Stand, 0, len(chunks))
	for some := range slices.Chunk(chunks, maxStands/2) {
		cmds := make([]*redis.BoolCmd, 0, 2*len(some))
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, k := range some {
				cmds = append(cmds, p.HExists(ctx, Key(lane, name), string(tells(k))), p.HExists(ctx, Key(lane, name), string(KeptOf(k))))
			}
			return nil
		})
		if err != nil {
			return nil, damaged(err)
		}
		for i := range some {
			stand := HasValues
			if cmds[2*i].Val() != canceled {
				stand = Waits
			} else if cmds[2*i+1].Val() {
				stand = HasFailed
			}
			all = append(all, stand)
		}
	}
	return all, nil
}
