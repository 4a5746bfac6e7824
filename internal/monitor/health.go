package monitor

import (
	"context"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// commandTime bounds each request to Redis, so that what takes no context, as
	// asynq's inspector, ends too. Redis answers in milliseconds.
	commandTime = 2 * time.Second
	// readTime bounds all reading for an answer, and answerTime the answer itself.
	// Event streams have neither.
	readTime   = 3 * time.Second
	answerTime = 4 * time.Second
	// readyTime is how long /readyz waits for Redis. Kubernetes gives a probe one
	// second by default.
	readyTime = 800 * time.Millisecond
)

// commandLimit is a hook that gives each request to Redis the deadline commandTime,
// attempts and the wait for a connection included.
type commandLimit struct{}

// DialHook implements redis.Hook.
func (commandLimit) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (commandLimit) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, commandTime)
		defer cancel()
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (commandLimit) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, commandTime)
		defer cancel()
		return next(ctx, cmds)
	}
}

// bounded answers within answerTime, whatever h does. asynqmon's handlers have no
// context in their reading, and go on behind the answer.
func bounded(h http.Handler) http.Handler {
	return http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readTime)
		defer cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
	}), answerTime, "Redis does not answer in time. What was asked for may still be done.\n")
}

// alive answers as long as the process can.
func (m *Monitor) alive(w http.ResponseWriter, _ *http.Request) { plain(w, "alive\n") }

// ready answers whether the monitor can do its work: Redis answers.
func (m *Monitor) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	if err := m.cfg.Redis.Ping(ctx).Err(); err != nil {
		m.cfg.Logger.Warn("not ready: Redis does not answer", "error", err)
		http.Error(w, "not ready: Redis does not answer", http.StatusServiceUnavailable)
		return
	}
	plain(w, "ready\n")
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text))
}
