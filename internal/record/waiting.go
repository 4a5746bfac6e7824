package record

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Waiting draws up to n chunks of the job, at random, that have no outcomes, each
// with the worker that holds it, "" for none. It returns none when the job is over.
func Waiting(ctx context.Context, c redis.Cmdable, job Ref, n int) (map[int]string, error) {
	k := Keys(job.ID)
	inline, err := c.HGet(ctx, k[0], "inline").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	refs := []ChunkRef{{Job: job, Chunk: 0}}
	if inline != "1" {
		fields, err := c.HRandField(ctx, k[1], n).Result()
		if err != nil {
			return nil, err
		}
		refs = refs[:0]
		for _, f := range fields {
			chunk, err := strconv.Atoi(f)
			if err != nil {
				continue // not a chunk: whoever reads it will say so
			}
			refs = append(refs, ChunkRef{Job: job, Chunk: chunk})
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	holdings, err := Holdings(ctx, c, refs)
	if err != nil {
		return nil, err
	}
	chunks := map[int]string{}
	for i, h := range holdings {
		if h.Open {
			chunks[refs[i].Chunk] = h.Owner
		}
	}
	return chunks, nil
}
