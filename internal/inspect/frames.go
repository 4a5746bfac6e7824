package inspect

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// place is where a frame is, or the reference to a large one.
type place struct{ key, field string }

// mostReference is longer than a reference is, and than no frame that matters.
const mostReference = 64

// frameSizes is how large the frames are; 0 of those that are not there. It reads no
// frame.
func (in *Inspector) frameSizes(ctx context.Context, places []place) ([]int, error) {
	lengths := make([]*redis.IntCmd, len(places))
	_, err := in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, at := range places {
			lengths[i] = p.HStrLen(ctx, at.key, at.field)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sizes := make([]int, len(places))
	short := make(map[int]*redis.StringCmd)
	_, err = in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, at := range places {
			if sizes[i] = int(lengths[i].Val()); sizes[i] > 0 && sizes[i] <= mostReference {
				short[i] = p.HGet(ctx, at.key, at.field)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	for i, cmd := range short {
		sizes[i] = record.LargeSize([]byte(cmd.Val()))
	}
	return sizes, nil
}

// readFrames reads the frames of a job; nil where there is none (any more).
func (in *Inspector) readFrames(ctx context.Context, job string, places []place) ([][]byte, error) {
	cmds := make([]*redis.StringCmd, len(places))
	_, err := in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, at := range places {
			cmds[i] = p.HGet(ctx, at.key, at.field)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	frames := make([][]byte, len(places))
	larges := make(map[int]record.LargeRead)
	_, _ = in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error { // the errors are the commands' own
		for i, cmd := range cmds {
			if frames[i], err = cmd.Bytes(); err != nil {
				frames[i] = nil
			} else if record.IsReference(frames[i]) {
				larges[i] = record.QueueLarge(ctx, p, job, frames[i])
			}
		}
		return nil
	})
	for i, large := range larges {
		frame, err := large.Frame()
		if err != nil && !errors.Is(err, record.ErrLargeGone) {
			return nil, err
		}
		frames[i] = frame
	}
	return frames, nil
}
