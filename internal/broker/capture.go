package broker

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// asynq's client sends one script per task and waits for each. To send a whole
// map in one round trip we give it a Redis client that, when it finds a capture
// in the context, notes the script call and answers "enqueued" instead of
// sending; afterwards the noted calls go into one pipeline, and their real
// replies are checked there. Everything that asynq does to build a task stays
// asynq's, but for naming the queue: asynq's client does that once in its life, and a
// Redis that has come back empty would not hear of it again. So it goes along with
// the deliveries, each time.

type captureKey struct{}

type capture struct {
	queue    string
	cmds     []command
	learning string // SHA-1 of the script whose source is being asked for
}

type command struct {
	sha    string
	source string
	keys   []string
	args   []any
}

// enqueued has the replies to the commands of a capture.
type enqueued struct {
	named      *redis.IntCmd
	deliveries []*redis.Cmd
}

// add adds the captured calls, and the naming of their queue, to a pipeline.
func (c *capture) add(ctx context.Context, p redis.Pipeliner) enqueued {
	e := enqueued{named: p.SAdd(ctx, record.AsynqQueues, c.queue), deliveries: make([]*redis.Cmd, len(c.cmds))}
	for i, cmd := range c.cmds {
		e.deliveries[i] = cmd.queue(ctx, p)
	}
	return e
}

// queue adds a captured call to a pipeline.
func (c command) queue(ctx context.Context, p redis.Pipeliner) *redis.Cmd {
	return p.EvalSha(ctx, c.sha, c.keys, c.args...)
}

// capturer is the client that asynq gets.
type capturer struct {
	redis.UniversalClient
	sources *sync.Map // SHA-1 of a script -> its source
}

// EvalSha notes the call when the context carries a capture. The first time that
// it meets a script it answers NOSCRIPT, so that asynq calls Eval with the
// source: the broker needs it when a server has lost its scripts.
func (c capturer) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	captured, ok := ctx.Value(captureKey{}).(*capture)
	if !ok {
		return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	cmd := redis.NewCmd(ctx)
	source, ok := c.sources.Load(sha)
	if !ok {
		captured.learning = sha
		cmd.SetErr(redis.ErrNoScript)
		return cmd
	}
	captured.cmds = append(captured.cmds, command{sha, source.(string), keys, args})
	cmd.SetVal(int64(1))
	return cmd
}

// SAdd leaves the naming of the queue out when the context carries a capture.
func (c capturer) SAdd(ctx context.Context, key string, members ...any) *redis.IntCmd {
	if _, ok := ctx.Value(captureKey{}).(*capture); !ok || key != record.AsynqQueues {
		return c.UniversalClient.SAdd(ctx, key, members...)
	}
	return redis.NewIntCmd(ctx)
}

// Eval is EvalSha's second half: see there.
func (c capturer) Eval(ctx context.Context, source string, keys []string, args ...any) *redis.Cmd {
	captured, ok := ctx.Value(captureKey{}).(*capture)
	if !ok {
		return c.UniversalClient.Eval(ctx, source, keys, args...)
	}
	c.sources.Store(captured.learning, source)
	return c.EvalSha(ctx, captured.learning, keys, args...)
}
