// Package combine sends the commands of concurrent goroutines to Redis in shared
// pipelines. What costs on a busy connection is the round trip (two system calls
// on each side, and the switches between them), not the command.
//
// Nothing ever waits for company: a command that finds nothing under way goes out
// at once, on its own goroutine. Only those that come while another one is under
// way gather, and go out together when it is back. So a lone caller pays nothing,
// and the busier it gets, the more share one round trip.
package combine

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxCommands bounds a pipeline, so that the first of its callers need not wait
	// for an endless rest.
	maxCommands = 256
	// Large is from where on a caller should not combine: in bytes, of all its
	// commands. What shares a pipeline with it would wait for its transfer.
	Large = 32 << 10
	// execTime bounds a shared pipeline, whatever the client's own time limits are.
	execTime = 30 * time.Second
)

// Client is a Redis client whose EvalSha shares round trips with those of others;
// everything else passes. It is safe for concurrent use; it holds no resources of its
// own, and needs no closing.
type Client struct {
	redis.UniversalClient

	mu       sync.Mutex // guards all below
	busy     int        // round trips under way
	flushing bool       // the goroutine that sends what has gathered is there
	gathered []parcel
}

// parcel is one caller's command.
type parcel struct {
	cmd  redis.Cmder
	done func()
}

// New makes a Client on one that stays the caller's.
func New(rdb redis.UniversalClient) *Client { return &Client{UniversalClient: rdb} }

// EvalSha runs a script in a round trip that it may share with others; alone, if it
// is large. When ctx ends first, the script may or may not run.
func (c *Client) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd, size := Script(ctx, sha, keys, args...)
	if size > Large {
		_ = c.Process(ctx, cmd)
	} else if err := c.do(ctx, cmd); err != nil {
		cmd = redis.NewCmd(ctx) // the other one may still be written to
		cmd.SetErr(err)
	}
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd.SetErr(redis.ErrNoScript) // what go-redis makes of it, and asynq looks for
	}
	return cmd
}

// Script makes the command that runs a script, and says how large it is, in bytes and
// without the keys.
func Script(ctx context.Context, sha string, keys []string, args ...any) (cmd *redis.Cmd, size int) {
	all := make([]any, 3, 3+len(keys)+len(args))
	all[0], all[1], all[2] = "evalsha", sha, len(keys)
	for _, k := range keys {
		all = append(all, k)
	}
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			size += len(a)
		case string:
			size += len(a)
		}
	}
	cmd = redis.NewCmd(ctx, append(all, args...)...)
	if len(keys) > 0 {
		cmd.SetFirstKeyPos(3)
	}
	return cmd, size
}

// do runs the command and returns when its reply is in it. It returns an error only
// when ctx ends before that: then the command must not be looked at any more. The
// command's own error is in the command.
func (c *Client) do(ctx context.Context, cmd redis.Cmder) error {
	c.mu.Lock()
	if c.busy == 0 {
		c.busy++
		c.mu.Unlock()
		_ = c.Process(ctx, cmd)
		c.mu.Lock()
		c.busy--
		c.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	c.gather(parcel{cmd, func() { close(done) }})
	c.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Go runs the command in a round trip that it may share with others, and does not
// wait: when the reply is there done is called, on a goroutine that serves others
// too and must not be held up.
func (c *Client) Go(cmd redis.Cmder, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gather(parcel{cmd, done})
}

// gather is called with mu held.
func (c *Client) gather(p parcel) {
	c.gathered = append(c.gathered, p)
	if !c.flushing {
		c.flushing = true
		c.busy++
		go c.flush()
	}
}

// flush sends what gathers until nothing is left.
func (c *Client) flush() {
	for {
		c.mu.Lock()
		if len(c.gathered) == 0 {
			c.flushing = false
			c.busy--
			c.mu.Unlock()
			return
		}
		n := min(maxCommands, len(c.gathered))
		parcels := c.gathered[:n:n]
		if n == len(c.gathered) {
			c.gathered = nil
		} else {
			c.gathered = c.gathered[n:]
		}
		c.mu.Unlock()
		c.exec(parcels)
		for _, p := range parcels {
			p.done()
		}
	}
}

// exec runs commands in one round trip. The errors are the commands' own.
func (c *Client) exec(parcels []parcel) {
	ctx, cancel := context.WithTimeout(context.Background(), execTime)
	defer cancel()
	if len(parcels) == 1 {
		_ = c.Process(ctx, parcels[0].cmd)
		return
	}
	p := c.Pipeline()
	for _, parcel := range parcels {
		_ = p.Process(ctx, parcel.cmd)
	}
	_, _ = p.Exec(ctx)
}
