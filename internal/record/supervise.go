package record

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// ChunkRef names a chunk.
type ChunkRef struct {
	Job   Ref
	Chunk int
}

// Holding is how the record sees a chunk that somebody has taken from a queue.
type Holding struct {
	Task  string
	Live  bool   // its job is alive
	Open  bool   // its job is alive, and it has no outcomes
	Owner string // the worker that runs it; "" for none
}

// Holdings reads how the record sees chunks, in one round trip. A chunk whose record
// is damaged is not Open: that is for whoever runs or waits for it to say, and must
// not keep others from being looked at.
func Holdings(ctx context.Context, c redis.Cmdable, refs []ChunkRef) ([]Holding, error) {
	type reads struct {
		job   *redis.SliceCmd
		args  *redis.BoolCmd
		owner *redis.StringCmd
	}
	cmds := make([]reads, len(refs))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, ref := range refs {
			k, chunk := Keys(ref.Job.ID), strconv.Itoa(ref.Chunk)
			cmds[i] = reads{
				job:   p.HMGet(ctx, k[0], "state", "inline", "run", "out", "task", "gen"),
				args:  p.HExists(ctx, k[1], chunk),
				owner: p.HGet(ctx, k[4], chunk),
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) && !IsCorrupt(err) {
		return nil, err
	}
	hs := make([]Holding, len(refs))
	for i, r := range cmds {
		damaged := false
		for _, err := range []error{r.job.Err(), r.args.Err(), r.owner.Err()} {
			switch {
			case err == nil || errors.Is(err, redis.Nil):
			case IsCorrupt(err):
				damaged = true
			default: // Exec told of the first error only
				return nil, err
			}
		}
		if damaged {
			continue
		}
		fields := r.job.Val()
		text := func(i int) string { s, _ := fields[i].(string); return s }
		alive := text(0) != "" && !State(text(0)).Ended() && text(5) == refs[i].Job.Gen
		h := Holding{Task: text(4), Live: alive, Open: alive && r.args.Val(), Owner: r.owner.Val()}
		if text(1) == "1" {
			h.Open, h.Owner = alive && fields[3] == nil, text(2)
		}
		hs[i] = h
	}
	return hs, nil
}

// ChunksLeft counts for each job the chunks without outcomes. A job that is over
// or that Redis does not have counts 0.
func ChunksLeft(ctx context.Context, c redis.Cmdable, jobs []string) (map[string]int, error) {
	cmds := make([]*redis.SliceCmd, len(jobs))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range jobs {
			cmds[i] = p.HMGet(ctx, Keys(id)[0], "state", "chunks", "recorded", "inline")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	left := make(map[string]int, len(jobs))
	for i, id := range jobs {
		fields := cmds[i].Val()
		text := func(i int) string { s, _ := fields[i].(string); return s }
		if state := State(text(0)); state == "" || state.Ended() {
			continue
		}
		// A damaged number counts as 0: others deal with it.
		chunks, _ := strconv.Atoi(text(1))
		if fields[1] == nil && text(3) == "1" {
			chunks = 1
		}
		recorded, _ := strconv.Atoi(text(2))
		left[id] = max(0, chunks-recorded)
	}
	return left, nil
}
