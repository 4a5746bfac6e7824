package worker

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// asynqLogger passes on what asynq has to say. What it reports about single
// tasks is known better here: failed calls are outcomes, not events of the
// worker's own life. And while Redis is away, of which the heartbeat has warned
// once, each of asynq's loops says so again every few seconds: that is for
// debugging only. A permission that is missing is reported once.
type asynqLogger struct {
	log      *slog.Logger
	troubled func() bool
	refused  atomic.Bool // it has reported that it may not subscribe
}

func (l *asynqLogger) Debug(args ...any) { l.log.Debug("asynq: " + fmt.Sprint(args...)) }
func (l *asynqLogger) Info(args ...any)  { l.log.Debug("asynq: " + fmt.Sprint(args...)) }

func (l *asynqLogger) Warn(args ...any) {
	msg := fmt.Sprint(args...)
	if l.troubled() || strings.HasPrefix(msg, "Retry exhausted for task") {
		l.log.Debug("asynq: " + msg)
		return
	}
	l.log.Warn("asynq: " + msg)
}

func (l *asynqLogger) Error(args ...any) {
	msg := fmt.Sprint(args...)
	if strings.HasPrefix(msg, "cannot subscribe to cancelation channel") && strings.Contains(msg, "NOPERM") {
		if !l.refused.Swap(true) {
			l.log.Warn("asynq: this user may not subscribe to asynq:cancel, so asynq's tools cannot cancel deliveries here; canceling jobs works without it", "error", msg)
		}
		return
	}
	if l.troubled() {
		l.log.Debug("asynq: " + msg)
		return
	}
	l.log.Error("asynq: " + msg)
}

// Fatal is for what asynq cannot go on after; it expects the process to end.
func (*asynqLogger) Fatal(args ...any) { panic("asynq: " + fmt.Sprint(args...)) }
