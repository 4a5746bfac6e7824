package worker

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// listed is how asynq tells operators each 5 s of a server and what it runs: a script
// that writes the one, and replaces the other. As long as nothing runs there is nothing
// to replace, and one command does.
type listed struct {
	bare atomic.Bool // the last write said that nothing runs
}

// isListing recognises asynq's script: its arguments are a time to live (s), the server,
// and what it runs.
func isListing(sha string, keys []string, args []any) bool {
	return sha == record.AsynqListing && len(keys) == 2 && len(args) >= 2
}

// write answers the script; pass sends it.
func (l *listed) write(ctx context.Context, rdb redis.UniversalClient, keys []string, args []any, pass func() *redis.Cmd) *redis.Cmd {
	idle := len(args) == 2
	if !idle || !l.bare.Load() {
		l.bare.Store(false)
		cmd := pass()
		l.bare.Store(idle && cmd.Err() == nil)
		return cmd
	}
	cmd := redis.NewCmd(ctx, "setex", keys[0], args[0], args[1])
	_ = rdb.Process(ctx, cmd)
	return cmd
}
