package guard

import (
	"context"
	"log/slog"
)

// Logger returns a logger whose records go to the handler of log, under guard: a
// record with which the handler panics or calls runtime.Goexit is lost, and nothing
// else. The handler must return.
func Logger(log *slog.Logger) *slog.Logger {
	if _, ok := log.Handler().(handler); ok {
		return log
	}
	return slog.New(handler{log.Handler()})
}

type handler struct{ slog.Handler }

func (h handler) Enabled(ctx context.Context, level slog.Level) (on bool) {
	defer func() { _ = recover() }()
	return h.Handler.Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	return Apart(context.Background(), func() error { return h.Handler.Handle(ctx, r) })
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func() slog.Handler { return h.Handler.WithAttrs(attrs) })
}

func (h handler) WithGroup(name string) slog.Handler {
	return h.with(func() slog.Handler { return h.Handler.WithGroup(name) })
}

// with returns the handler that f makes, or h if it makes none.
func (h handler) with(f func() slog.Handler) slog.Handler {
	made := h
	_ = Apart(context.Background(), func() error {
		if next := f(); next != nil {
			made = handler{next}
		}
		return nil
	})
	return made
}
