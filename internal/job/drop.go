package job

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// maxDropped is how many entries one run of the drop script has at the most: it takes Redis about a
// millisecond.
const maxDropped = 500

// drop is one entry of the drop script, which says what its words mean.
type drop struct {
	what string
	Ref
	of, place any
}

func dropAll(ctx context.Context, c redis.UniversalClient, lane string, entries []drop) error {
	for some := range slices.Chunk(entries, maxDropped) {
		args := append(make([]any, 0, 1+5*len(some)), lane)
		for _, d := range some {
			args = append(args, d.what, d.Name, d.Gen, d.of, d.place)
		}
		if err := run(ctx, c, dropScript, lane, args).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Consume removes the outcomes of a stream's chunks, which have reached their only reader.
// order has the place, from 0, at which each of them was recorded.
func Consume(ctx context.Context, c redis.UniversalClient, lane string, job Ref, chunks, order []int) error {
	entries := make([]drop, len(chunks))
	for i, chunk := range chunks {
		entries[i] = drop{"outcomes", job, chunk, order[i]}
	}
	return dropAll(ctx, c, lane, entries)
}

// DropArguments removes the arguments of the chunks of canceled jobs of one lane. Their records live
// on without them.
func DropArguments(ctx context.Context, c redis.UniversalClient, lane string, jobs ...Unwanted) error {
	err := inSteps(chunksOf(jobs), maxDropped, func(chunks []Delivery) error {
		entries := make([]drop, len(chunks))
		for i, d := range chunks {
			entries[i] = drop{"arguments", d.Ref, d.Chunk, ""}
		}
		return dropAll(ctx, c, lane, entries)
	})
	if err != nil {
		err = fmt.Errorf("removing arguments of canceled jobs in lane %q: %w", lane, err)
	}
	return err
}

// Discard removes stored frames that no script has made the job's.
func Discard(ctx context.Context, c redis.UniversalClient, lane, name string, stored ...[]byte) error {
	var entries []drop
	for _, frame := range stored {
		if token, size, ok := parseReference(frame); ok {
			for _, piece := range pieces(token, size) {
				entries = append(entries, drop{"frame", Ref{Name: name}, piece, ""})
			}
		}
	}
	return dropAll(ctx, c, lane, entries)
}

// RemoveOutlived removes the records of jobs of many chunks whose time to live is over. Redis itself would
// do nothing else for as long as that takes.
func RemoveOutlived(ctx context.Context, c redis.UniversalClient, lane string) error {
	names, err := c.SMembers(ctx, Prefix(lane)+"large").Result()
	if err != nil {
		return err
	}
	entries := make([]drop, len(names))
	for i, name := range names {
		entries[i] = drop{"record", Ref{Name: name}, "", ""}
	}
	return dropAll(ctx, c, lane, entries)
}
