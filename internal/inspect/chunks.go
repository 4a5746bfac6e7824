package inspect

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// stand is how a chunk stands. Of two that fields of a record tell, the larger one is right.
type stand int

const (
	hasValues stand = iota + 1 // it has its outcomes
	hasFailed                  // it has its outcomes, and some calls failed
	waits                      // no worker runs it
	givenBack                  // the same, and a worker has run it
	isRun                      // a worker runs it
)

// standOf is what a field of a chunk tells.
var standOf = map[string]stand{"out": hasValues, "kept": hasFailed, "args": waits, "lost": givenBack, "counted": givenBack, "own": isRun}

// standing says how those chunks of a job stand of which the record has something. The others
// have values, if the job was not canceled: the record of a canceled job may lack arguments.
// Outcomes that a stream has consumed are in neither. ok is false if the record has more than
// exactFields fields, and nothing was read. The names of all fields are read, none of the values.
func (in *Inspector) standing(ctx context.Context, j Job) (stands map[int]stand, ok bool, err error) {
	key := job.Key(j.lane, j.Name)
	if n, err := in.rdb.HLen(ctx, key).Result(); err != nil || n > exactFields {
		return nil, false, err
	}
	fields, err := in.rdb.HKeys(ctx, key).Result()
	if err != nil {
		return nil, false, err
	}
	stands = make(map[int]stand)
	for _, field := range fields {
		kind, number, _ := strings.Cut(field, ":")
		if k, err := strconv.Atoi(number); err == nil && standOf[kind] > 0 {
			stands[k] = max(stands[k], standOf[kind])
		}
	}
	return stands, true, nil
}

// maxStands bounds the commands of one round trip of stands.
const maxStands = 1000

// stands says how some chunks of a job stand. It does not tell givenBack and isRun from waits.
func (in *Inspector) stands(ctx context.Context, j Job, chunks []int) ([]stand, error) {
	tells := job.ArgsOf // it has outcomes unless this is there; of a canceled job, if this is there
	if j.early() {
		tells = job.OutOf
	}
	key := job.Key(j.lane, j.Name)
	all := make([]stand, 0, len(chunks))
	for some := range slices.Chunk(chunks, maxStands/2) {
		cmds := make([]*redis.BoolCmd, 0, 2*len(some))
		_, err := in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, k := range some {
				cmds = append(cmds, p.HExists(ctx, key, tells(k)), p.HExists(ctx, key, job.KeptOf(k)))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i := range some {
			is := hasValues
			if cmds[2*i].Val() != j.early() {
				is = waits
			} else if cmds[2*i+1].Val() {
				is = hasFailed
			}
			all = append(all, is)
		}
	}
	return all, nil
}

// ChunkRun is a chunk that a worker runs, or has run without finishing it.
type ChunkRun struct {
	Chunk  int
	Owner  string // empty: it was given back
	Since  int64  // when that worker took it, Unix ms
	Deaths int    // workers that died in it
	Saved  int    // calls that its last checkpoint finishes
}

// runs reads how chunks of a job are run.
func (in *Inspector) runs(ctx context.Context, j Job, chunks []int) ([]ChunkRun, error) {
	if len(chunks) == 0 {
		return nil, nil
	}
	fields := make([]string, 0, 3*len(chunks))
	for _, k := range chunks {
		n := strconv.Itoa(k)
		fields = append(fields, "own:"+n, "lost:"+n, "counted:"+n)
	}
	f, err := job.FieldsOf(fields, in.rdb.HMGet(ctx, job.Key(j.lane, j.Name), fields...))
	if err != nil {
		return nil, err
	}
	runs := make([]ChunkRun, len(chunks))
	for i, k := range chunks {
		r := &runs[i]
		r.Chunk = k
		r.Owner, r.Since, _ = job.ParseOwner(f[fields[3*i]])
		r.Deaths, _ = strconv.Atoi(f[fields[3*i+1]])
		r.Saved, _ = strconv.Atoi(f[fields[3*i+2]])
	}
	return runs, nil
}

// mostReference is longer than the reference to a large frame is, and than no frame that matters.
const mostReference = 64

// frameSizes is how large the frames in the fields are; 0 of those that are not there. It reads no
// frame.
func (in *Inspector) frameSizes(ctx context.Context, j Job, fields []string) ([]int, error) {
	key := job.Key(j.lane, j.Name)
	lengths := make([]*redis.IntCmd, len(fields))
	_, err := in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, field := range fields {
			lengths[i] = p.HStrLen(ctx, key, field)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sizes := make([]int, len(fields))
	short := make(map[int]*redis.StringCmd)
	_, err = in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, field := range fields {
			if sizes[i] = int(lengths[i].Val()); sizes[i] > 0 && sizes[i] <= mostReference {
				short[i] = p.HGet(ctx, key, field)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	for i, cmd := range short {
		sizes[i] = job.FrameSize([]byte(cmd.Val()))
	}
	return sizes, nil
}

// frames reads the frames in the fields, large ones, too; nil where there is none any more.
func (in *Inspector) frames(ctx context.Context, j Job, fields []string) ([][]byte, error) {
	f, err := job.FieldsOf(fields, in.rdb.HMGet(ctx, job.Key(j.lane, j.Name), fields...))
	if err != nil {
		return nil, err
	}
	frames := make([][]byte, len(fields))
	for i, field := range fields {
		frame, ok := f[field]
		if !ok {
			continue
		}
		frames[i], err = job.Load(ctx, in.rdb, j.lane, j.Name, []byte(frame))
		if err != nil && !errors.Is(err, job.ErrFrameGone) {
			return nil, err
		}
	}
	return frames, nil
}
