package observers

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/observe"
)

// Hook is a go-redis hook that tells of each round trip.
func Hook(tell func(observe.RoundTrip)) redis.Hook { return hook{tell} }

type hook struct{ tell func(observe.RoundTrip) }

func (hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		h.tell(observe.RoundTrip{Commands: 1, Took: time.Since(began), Waits: waits(cmd), Err: trouble(cmd, err)})
		return err
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		r := observe.RoundTrip{Commands: len(cmds), Took: time.Since(began)}
		for _, cmd := range cmds { // err is the first of theirs, wanted or not
			if r.Err = trouble(cmd, cmd.Err()); r.Err != nil {
				break
			}
		}
		h.tell(r)
		return err
	}
}

// waits reports whether the command waits for something to happen.
func waits(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "blpop", "brpop", "blmove", "brpoplpush", "bzpopmin", "bzpopmax", "wait", "xread", "xreadgroup":
		return true
	}
	return false
}

// trouble is cmd's err unless it is an answer like others. A context that ended is
// the caller's wish. With each new connection go-redis sends CLIENT commands that
// an older Redis does not know, and does without them.
func trouble(cmd redis.Cmder, err error) error {
	var reply redis.Error
	if cmd.Name() == "client" && errors.As(err, &reply) {
		return nil
	}
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled) || errors.Is(err, redis.ErrNoScript) || strings.HasPrefix(err.Error(), "NOSCRIPT") {
		return nil
	}
	return err
}
