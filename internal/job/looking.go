package job

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/names"
)

// Field names a field of a job's hash that has a frame, or the reference to a large one.
type Field string

// ArgsOf is the field with the arguments of a chunk that has no outcomes.
func ArgsOf(chunk int) Field { return Field("args:" + strconv.Itoa(chunk)) }

// KeptOf is the field with the arguments of a chunk with failed calls.
func KeptOf(chunk int) Field { return Field("kept:" + strconv.Itoa(chunk)) }

// OutOf is the field with the outcomes of a chunk.
func OutOf(chunk int) Field { return Field("out:" + strconv.Itoa(chunk)) }

// mostReference is longer than a reference is, and than no frame that matters.
const mostReference = 64

// FrameSizes is how large the frames are; 0 of those that are not there. It reads no frame.
func FrameSizes(ctx context.Context, c redis.Cmdable, lane, name string, fields []Field) ([]int, error) {
	lengths := make([]*redis.IntCmd, len(fields))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, field := range fields {
			lengths[i] = p.HStrLen(ctx, Key(lane, name), string(field))
		}
		return nil
	})
	if err != nil {
		return nil, damaged(err)
	}
	sizes := make([]int, len(fields))
	short := make(map[int]*redis.StringCmd)
	_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, field := range fields {
			if sizes[i] = int(lengths[i].Val()); sizes[i] > 0 && sizes[i] <= mostReference {
				short[i] = p.HGet(ctx, Key(lane, name), string(field))
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, damaged(err)
	}
	for i, cmd := range short {
		if m := reference.FindStringSubmatch(cmd.Val()); m != nil {
			sizes[i], _ = strconv.Atoi(m[2])
		}
	}
	return sizes, nil
}

// Frames reads frames of a job, large ones, too; nil where there is none any more.
func Frames(ctx context.Context, c redis.Cmdable, lane, name string, fields []Field) ([][]byte, error) {
	asked := make([]string, len(fields))
	for i, field := range fields {
		asked[i] = string(field)
	}
	reply, err := c.HMGet(ctx, Key(lane, name), asked...).Result()
	if err != nil {
		return nil, damaged(err)
	}
	frames := make([][]byte, len(fields))
	for i, v := range reply {
		frame, ok := v.(string)
		if !ok {
			continue
		}
		if frames[i], err = Load(ctx, c, lane, name, []byte(frame)); errors.Is(err, ErrFrameGone) {
			frames[i] = nil
		} else if err != nil {
			return nil, err
		}
	}
	return frames, nil
}

// ParsePayload reads the payload of a delivery (see Message). It reports false for that of
// another task.
func ParsePayload(payload []byte) (job names.Address, chunk int, ok bool) {
	var p struct {
		Job   string `json:"job"`
		Chunk *int   `json:"chunk"`
	}
	if err := json.Unmarshal(payload, &p); err != nil || p.Chunk == nil || *p.Chunk < 0 {
		return job, 0, false
	}
	job, err := names.ParseAddress(p.Job, "") // a bare name is no address
	return job, *p.Chunk, err == nil
}
