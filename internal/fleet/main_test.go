package fleet

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

// onBoth runs f on miniredis and on a real redis-server.
func onBoth(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { f(t, client(t, miniredis.RunT(t))) })
	t.Run("redis", func(t *testing.T) { f(t, redistest.Start(t).Client(t)) })
}

func client(t *testing.T, m *miniredis.Miniredis) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// member makes a member that has not joined.
func member(rdb redis.UniversalClient, id string) *Member {
	return New(rdb, Worker{ID: id, Concurrency: 2, Queues: map[string]int{"q": 1}, Tasks: []string{"square"}}, slog.New(slog.DiscardHandler))
}

// counter counts the commands of a client.
type counter struct{ n atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}
