package guard

import (
	"context"
	"log/slog"
)

// Logger returns a logger whose records go to the handler of log, under guard: a
// record with which the handler panics or calls runtime.Goexit is lost, and nothing
// else. The handler must return. Of the handlers of package log/slog, a Level that calls
// runtime.Goexit is not guarded: asking them for theirs must cost nothing.
func Logger(log *slog.Logger) *slog.Logger {
	if _, ok := log.Handler().(handler); ok {
		return log
	}
	return slog.New(handler{log.Handler()})
}

type handler struct{ slog.Handler }

func (h handler) Enabled(ctx context.Context, level slog.Level) (on bool) {
	switch h.Handler.(type) {
	case *slog.TextHandler, *slog.JSONHandler:
		defer func() { _ = recover() }()
		return h.Handler.Enabled(ctx, level)
	}
	enabled := make(chan bool, 1)
	err := Apart(ctx, func() error {
		enabled <- h.Handler.Enabled(ctx, level)
		return nil
	})
	return err == nil && <-enabled
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
