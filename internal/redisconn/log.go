package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"

	"github.com/redis/go-redis/v9"
)

// go-redis has one logger for the whole process. It is set before main begins, so that a
// program's own redis.SetLogger takes its place.
func init() {
	redis.SetLogger(forwarder{log.New(os.Stderr, "redis: ", log.LstdFlags|log.Lshortfile)})
}

// forwarder passes what go-redis reports about clients that distpool has made to their
// owner's logger, and the rest to where go-redis's own logger writes.
type forwarder struct{ rest *log.Logger }

// Printf is called by go-redis.
func (f forwarder) Printf(ctx context.Context, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, arg := range args {
		err, _ := arg.(error)
		if d, ok := errors.AsType[*dialError](err); ok {
			// Pools and workers say once that their Redis is away; go-redis repeats it.
			d.log.DebugContext(ctx, "go-redis: "+text)
			return
		}
	}
	_ = f.rest.Output(3, text) // of the caller of go-redis's logger
}

// dialError is a failure to connect that names the logger of the client's owner.
type dialError struct {
	error
	log *slog.Logger
}

func (e *dialError) Unwrap() error { return e.error }

// LogTo has go-redis report to l, at level Debug, that a client of the target cannot connect.
func (t *Target) LogTo(l *slog.Logger) {
	logged := func(dial dialFunc) dialFunc {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, &dialError{err, l}
			}
			return conn, nil
		}
	}
	switch {
	case t.cluster != nil:
		t.cluster.Dialer = logged(t.cluster.Dialer)
	case t.failover != nil:
		t.failover.Dialer = logged(t.failover.Dialer)
	default:
		t.single.Dialer = logged(t.single.Dialer)
	}
}
