package asynqfmt

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"
)

// Server is one worker process as asynq's tools list it.
type Server struct {
	Host        string
	PID         int
	ID          string
	Concurrency int            // slots
	Queues      map[string]int // weights
	Strict      bool           // queues of a smaller weight wait until all others are empty
	Status      string         // "active", "stopped" while it drains, "closed"
	Started     time.Time
	Running     []Running
}

// Running is one task that a server runs.
type Running struct {
	TaskID   string
	Type     string
	Payload  []byte
	Queue    string
	Started  time.Time
	Deadline time.Time // by asynq's rules a task has one; far away where the call has none
}

func (s Server) keys() (server, workers string) {
	tag := fmt.Sprintf("{%s:%d:%s}", s.Host, s.PID, s.ID)
	return "asynq:servers:" + tag, "asynq:workers:" + tag
}

// Write adds commands to a pipeline that list the server, and what it runs, for ttl. now is by the
// clock of this process, as asynq has it.
func (s Server) Write(ctx context.Context, p redis.Pipeliner, now time.Time, ttl time.Duration) {
	server, workers := s.keys()
	expires := float64(now.Add(ttl).Unix())
	p.ZAdd(ctx, serversKey, redis.Z{Score: expires, Member: server})
	p.ZAdd(ctx, workersKey, redis.Z{Score: expires, Member: workers})
	p.SetEx(ctx, server, s.encode(), ttl)
	p.Del(ctx, workers)
	if len(s.Running) == 0 {
		return
	}
	fields := make([]any, 0, 2*len(s.Running))
	for _, r := range s.Running {
		fields = append(fields, r.TaskID, s.encodeRunning(r))
	}
	p.HSet(ctx, workers, fields...)
	p.Expire(ctx, workers, ttl)
}

// Clear adds commands to a pipeline that take the server off the list.
func (s Server) Clear(ctx context.Context, p redis.Pipeliner) {
	server, workers := s.keys()
	p.ZRem(ctx, serversKey, server)
	p.ZRem(ctx, workersKey, workers)
	p.Del(ctx, server)
	p.Del(ctx, workers)
}

// process is the beginning of both messages.
func (s Server) process() []byte {
	b := appendString(nil, 1, s.Host)
	b = appendInt(b, 2, int64(s.PID))
	return appendString(b, 3, s.ID)
}

// encode is the message ServerInfo of asynq.proto.
func (s Server) encode() []byte {
	b := appendInt(s.process(), 4, int64(s.Concurrency))
	for queue, weight := range s.Queues {
		entry := appendInt(appendString(nil, 1, queue), 2, int64(weight))
		b = appendBytes(b, 5, entry)
	}
	if s.Strict {
		b = appendInt(b, 6, 1)
	}
	b = appendString(b, 7, s.Status)
	b = appendTime(b, 8, s.Started)
	return appendInt(b, 9, int64(len(s.Running)))
}

// encodeRunning is the message WorkerInfo of asynq.proto.
func (s Server) encodeRunning(r Running) []byte {
	b := appendString(s.process(), 4, r.TaskID)
	b = appendString(b, 5, r.Type)
	b = appendBytes(b, 6, r.Payload)
	b = appendString(b, 7, r.Queue)
	b = appendTime(b, 8, r.Started)
	return appendTime(b, 9, r.Deadline)
}

// appendTime appends a google.protobuf.Timestamp.
func appendTime(b []byte, number protowire.Number, t time.Time) []byte {
	stamp := appendInt(appendInt(nil, 1, t.Unix()), 2, int64(t.Nanosecond()))
	return appendBytes(b, number, stamp)
}
