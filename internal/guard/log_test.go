package guard_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"

	"github.com/distpool/distpool/internal/guard"
)

// leaves is a handler that panics or ends its goroutine when it is asked.
type leaves struct {
	slog.Handler
	how func()
}

func (l leaves) Enabled(context.Context, slog.Level) bool {
	l.how()
	return true
}

func TestABadEnabledHarmsNotItsCaller(t *testing.T) {
	for name, how := range map[string]func(){"panic": func() { panic("in Enabled") }, "runtime.Goexit": runtime.Goexit} {
		log, returned := guard.Logger(slog.New(leaves{slog.DiscardHandler, how})), make(chan bool, 1)
		go func() {
			defer close(returned)
			log.Info("a record")
			returned <- true
		}()
		if !<-returned {
			t.Errorf("%s in Enabled ended the goroutine that logs", name)
		}
	}
	if log := guard.Logger(slog.New(leaves{slog.DiscardHandler, func() {}})); !log.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("what the handler answers is lost")
	}
}
