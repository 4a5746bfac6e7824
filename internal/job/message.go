package job

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/names"
)

// asynq's own time limits and retries must never end a delivery: the record decides.
const (
	asynqTimeout = 10 * 365 * 24 * time.Hour
	asynqRetries = 10000
)

// Payload is the payload of a delivery: it tells people, and programs that know no more of the
// task, which chunk it runs.
func Payload(lane string, d Delivery) []byte { return appendPayload(nil, lane, d) }

func appendPayload(b []byte, lane string, d Delivery) []byte {
	b = append(appendPayloadHead(b, lane, d.Name), `","chunk":`...)
	return append(strconv.AppendInt(b, int64(d.Chunk), 10), '}')
}

// appendPayloadHead appends how the payloads of the deliveries of a job begin. No address needs quoting.
func appendPayloadHead(b []byte, lane, name string) []byte {
	b = append(append(b, `{"job":"`...), QueueOf(lane)...)
	return append(append(b, '/'), name...)
}

// ParsePayload reads what Payload wrote. It reports false for the payload of another task.
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

// The sizes of most messages and of most payloads, or more.
const (
	usualMessage = 256
	usualPayload = 128
)

// Message is asynq's message of a delivery. errText is the error of its last run, at failed;
// empty: there was none.
func Message(lane, task string, d Delivery, errText string, failed time.Time) []byte {
	m := message(lane, task, d.TaskID(), d)
	if errText != "" {
		m = asynqfmt.AppendFailure(m, errText, failed)
	}
	return m
}

func message(lane, task, id string, d Delivery) []byte {
	payload := appendPayload(make([]byte, 0, usualPayload), lane, d)
	return asynqfmt.Message{
		Type: task, ID: id, Queue: lane, Retry: asynqRetries, Timeout: int64(asynqTimeout.Seconds()), Payload: payload,
	}.Append(make([]byte, 0, usualMessage))
}

// Deliver gives a chunk of the job its first delivery, which is due at the given time.
func (c *Chunk) Deliver(lane, task string, job Ref, due time.Time) {
	d := Delivery{Ref: job, Chunk: c.Number, Number: 1}
	c.TaskID, c.Due = d.TaskID(), due
	c.Message = message(lane, task, c.TaskID, d)
}

// Failed is asynq's message of a task, whatever program made it, with the error of its last run.
func Failed(ctx context.Context, c redis.Cmdable, lane, taskID, errText string, failed time.Time) ([]byte, error) {
	stored, err := c.HGet(ctx, asynqfmt.TaskKey(lane, taskID), "msg").Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	if len(stored) == 0 || !asynqfmt.IsMessage(stored) {
		stored = asynqfmt.Message{ID: taskID, Queue: lane}.Append(nil)
	}
	return asynqfmt.AppendFailure(stored, errText, failed), nil
}
