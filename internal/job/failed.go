package job

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// Failed is asynq's message of a task, whatever program made it, with the error of its last run.
func Failed(ctx context.Context, c redis.Cmdable, lane, taskID, errText string, failed time.Time) ([]byte, error) {
	stored, err := c.HGet(ctx, asynqfmt.TaskKey(lane, taskID), "msg").Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	m, err := asynqfmt.ParseMessage(stored)
	if err != nil || m.ID == "" {
		m = asynqfmt.Message{ID: taskID, Queue: lane}
	}
	m.Error, m.LastFailed = errText, failed.Unix()
	return m.Append(nil), nil
}
