package broker

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// asynq's client sends one script per task and waits for each. To send a whole
// map in one round trip we give it a Redis client that, when it finds a capture
// in the context, notes the script call and answers "enqueued" instead of
// sending; afterwards the noted calls go into one pipeline, and their real
// replies are checked there. Everything that asynq does to build a task stays
// asynq's.

type captureKey struct{}

type capture struct {
	cmds     []command
	learning string // SHA-1 of the script whose source is being asked for
}

type command struct {
	sha    string
	source string
	keys   []string
	args   []any
}

// queue adds the captured calls to a pipeline.
func (c *capture) queue(ctx context.Context, p redis.Pipeliner) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(c.cmds))
	for i, cmd := range c.cmds {
		cmds[i] = p.EvalSha(ctx, cmd.sha, cmd.keys, cmd.args...)
	}
	return cmds
}

// send queues the captured calls and runs the pipeline.
func (c *capture) send(ctx context.Context, p redis.Pipeliner) []*redis.Cmd {
	cmds := c.queue(ctx, p)
	_, _ = p.Exec(ctx) // the errors are the commands' own
	return cmds
}

// eval runs a captured call with the script's source, which also puts it into
// the server's cache.
func (c command) eval(ctx context.Context, rdb redis.Scripter) error {
	return rdb.Eval(ctx, c.source, c.keys, c.args...).Err()
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

// Eval is EvalSha's second half: see there.
func (c capturer) Eval(ctx context.Context, source string, keys []string, args ...any) *redis.Cmd {
	captured, ok := ctx.Value(captureKey{}).(*capture)
	if !ok {
		return c.UniversalClient.Eval(ctx, source, keys, args...)
	}
	c.sources.Store(captured.learning, source)
	return c.EvalSha(ctx, captured.learning, keys, args...)
}
