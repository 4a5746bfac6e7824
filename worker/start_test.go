package worker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

var noop = tasks.Define("noop", func(context.Context, int) (int, error) { return 0, nil })

// deaf returns the URL of a server that accepts connections and calls back, and answers nothing.
func deaf(t *testing.T, accepted func()) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			accepted()
		}
	}()
	return "redis://" + l.Addr().String()
}

func TestAWorkerToldToStopWhileItStartsSucceeds(t *testing.T) {
	broken := errors.New("no table")
	for name, start := range map[string]func(t *testing.T, stop func()) worker.Config{
		"before it started": func(_ *testing.T, stop func()) worker.Config {
			stop()
			return worker.Config{}
		},
		"while Redis does not answer": func(t *testing.T, stop func()) worker.Config {
			return worker.Config{Redis: deaf(t, stop)}
		},
		"in an Init that says so": func(_ *testing.T, stop func()) worker.Config {
			return worker.Config{Init: func(ctx context.Context) (context.Context, error) {
				stop()
				return nil, ctx.Err()
			}}
		},
		"in an Init that fails by it": func(_ *testing.T, stop func()) worker.Config {
			return worker.Config{Init: func(context.Context) (context.Context, error) {
				stop()
				return nil, broken
			}}
		},
		"in an Init that ignores it": func(_ *testing.T, stop func()) worker.Config {
			return worker.Config{Init: func(ctx context.Context) (context.Context, error) {
				stop()
				return ctx, nil
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			cfg := start(t, stop)
			if cfg.Redis == "" {
				cfg.Redis = "redis://" + miniredis.RunT(t).Addr()
			}
			var log bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			initialized, closed := false, false
			if init := cfg.Init; init != nil {
				cfg.Init = func(ctx context.Context) (context.Context, error) {
					ctx, err := init(ctx)
					initialized = err == nil
					return ctx, err
				}
			}
			cfg.Shutdown = func(context.Context) error { closed = true; return nil }
			if err := worker.Run(ctx, cfg, noop); err != nil {
				t.Errorf("Run returns %v, want nil", err)
			}
			if initialized && !closed {
				t.Error("what Init has opened is not closed")
			}
			if !strings.Contains(log.String(), "told to stop") {
				t.Errorf("the log does not say why it ended:\n%s", &log)
			}
		})
	}
	t.Run("a wrong URL is an error all the same", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := worker.Run(ctx, worker.Config{Redis: "http://x"}, noop); err == nil {
			t.Error("Run returns nil")
		}
	})
}
