package tasks

import (
	"context"
	"log/slog"
)

type loggerKey struct{}

// Logger returns the logger of the call whose context ctx is: the worker's, with
// the call's place as the attributes that distpool's own lines have: worker, job,
// chunk, call, task and attempt. In a context that is no call's it returns the
// logger of WithLogger, and without that slog.Default(). It makes a logger each
// time: a call that logs much should keep it.
func Logger(ctx context.Context) *slog.Logger {
	log, ok := ctx.Value(loggerKey{}).(*slog.Logger)
	if !ok {
		log = slog.Default()
	}
	info := Info(ctx)
	if info.Attempt == 0 {
		return log
	}
	return log.With("job", info.Job, "chunk", info.Chunk, "call", info.Call, "task", info.Task, "attempt", info.Attempt)
}

// WithLogger returns a context that makes [Logger] return log, or one made from
// it. Workers call it with their own logger. So may worker.Config.Init, for calls
// to have another one, and a test of a task's function.
func WithLogger(ctx context.Context, log *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, log)
}
