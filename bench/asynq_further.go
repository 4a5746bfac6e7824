package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// combiner is a Redis client that puts the script calls and pipelines of
// concurrent goroutines into common round trips: what comes while a flight is
// under way goes with the next one. Nothing waits for a timer, and a call that
// comes alone goes alone.
type combiner struct {
	redis.UniversalClient

	mu     sync.Mutex // guards what follows
	flying int
	next   *flight
}

// flights is how many may be under way at a time: while Redis works on one, the
// next one is written.
const flights = 4

// flight is one round trip.
type flight struct {
	cmds []redis.Cmder
	lead chan struct{} // gets one value: who takes it makes the round trip
	led  bool          // lead has got it
	done chan struct{}
}

func newCombiner(rdb redis.UniversalClient) *combiner { return &combiner{UniversalClient: rdb} }

// EvalSha is the call of a script.
func (c *combiner) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", sha, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	c.send(ctx, cmd)
	return cmd
}

// Pipelined sends what fn queues.
func (c *combiner) Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error) {
	p := c.Pipeline()
	if err := fn(p); err != nil {
		return nil, err
	}
	cmds := p.Cmds()
	c.send(ctx, cmds...)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return cmds, err
		}
	}
	return cmds, nil
}

// send returns when the commands have their replies.
func (c *combiner) send(ctx context.Context, cmds ...redis.Cmder) {
	c.mu.Lock()
	if c.flying < flights && c.next == nil {
		c.flying++
		c.mu.Unlock()
		c.fly(ctx, cmds)
		return
	}
	f := c.next
	if f == nil {
		f = &flight{lead: make(chan struct{}, 1), done: make(chan struct{})}
		c.next = f
	}
	f.cmds = append(f.cmds, cmds...)
	c.mu.Unlock()
	select {
	case <-f.done:
	case <-f.lead:
		c.mu.Lock()
		c.next = nil
		c.mu.Unlock()
		c.fly(ctx, f.cmds)
		close(f.done)
	}
}

// fly makes one round trip and then lets the next one start.
func (c *combiner) fly(ctx context.Context, cmds []redis.Cmder) {
	if len(cmds) == 1 {
		_ = c.UniversalClient.Process(ctx, cmds[0]) // the command has its error
	} else {
		// The leader's context may end; the others' commands shall not fail for that.
		ctx := context.WithoutCancel(ctx)
		p := c.Pipeline()
		for _, cmd := range cmds {
			_ = p.Process(ctx, cmd)
		}
		_, _ = p.Exec(ctx) // each command has its own error
	}
	c.mu.Lock()
	if c.next != nil && !c.next.led {
		c.next.led = true
		c.next.lead <- struct{}{}
	} else {
		c.flying--
	}
	c.mu.Unlock()
}

// capturer is the Redis client under an asynq client whose tasks can be enqueued
// together: where the context says so, it notes the calls of asynq's script and
// answers as if they had succeeded, and then sends them in one pipeline.
type capturer struct{ redis.UniversalClient }

func newCapturer(rdb redis.UniversalClient) *capturer { return &capturer{rdb} }

type captureKey struct{}

type captured struct{ cmds []redis.Cmder }

// EvalSha is the call of a script, sent or noted.
func (c *capturer) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	noted, ok := ctx.Value(captureKey{}).(*captured)
	if !ok {
		return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", sha, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	noted.cmds = append(noted.cmds, redis.NewCmd(ctx, append(all, args...)...))
	answer := redis.NewCmd(ctx)
	answer.SetVal(int64(1))
	return answer
}

// together sends what asynq enqueues in fn, with fn's context, in one pipeline,
// and checks the replies.
func (c *capturer) together(ctx context.Context, fn func(ctx context.Context) error) error {
	noted := &captured{}
	if err := fn(context.WithValue(ctx, captureKey{}, noted)); err != nil {
		return err
	}
	p := c.Pipeline()
	for _, cmd := range noted.cmds {
		_ = p.Process(ctx, cmd)
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for _, cmd := range noted.cmds {
		if n, err := cmd.(*redis.Cmd).Int(); err != nil || n != 1 {
			return fmt.Errorf("enqueueing: asynq's script answered %d (%w)", n, err)
		}
	}
	return nil
}
