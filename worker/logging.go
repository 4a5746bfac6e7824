package worker

import (
	"fmt"
	"log/slog"
	"strings"
)

// asynqLogger passes on what asynq has to say. What it reports about single
// tasks is known better here: failed calls are outcomes, not events of the
// worker's own life. And while Redis is away, of which the heartbeat has warned
// once, each of asynq's loops says so again every few seconds: that is for
// debugging only.
type asynqLogger struct {
	log      *slog.Logger
	troubled func() bool
}

func (l asynqLogger) Debug(args ...any) { l.log.Debug("asynq: " + fmt.Sprint(args...)) }
func (l asynqLogger) Info(args ...any)  { l.log.Debug("asynq: " + fmt.Sprint(args...)) }

func (l asynqLogger) Warn(args ...any) {
	msg := fmt.Sprint(args...)
	if l.troubled() || strings.HasPrefix(msg, "Retry exhausted for task") {
		l.log.Debug("asynq: " + msg)
		return
	}
	l.log.Warn("asynq: " + msg)
}

func (l asynqLogger) Error(args ...any) {
	if l.troubled() {
		l.log.Debug("asynq: " + fmt.Sprint(args...))
		return
	}
	l.log.Error("asynq: " + fmt.Sprint(args...))
}

// Fatal is for what asynq cannot go on after; it expects the process to end.
func (asynqLogger) Fatal(args ...any) { panic("asynq: " + fmt.Sprint(args...)) }
