package worker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestAsynqIsHeardOnlyOfWhatIsNotKnownBetter(t *testing.T) {
	for _, tt := range []struct {
		name     string
		troubled bool
		say      func(*asynqLogger)
		want     string
	}{
		{"debug", false, func(l *asynqLogger) { l.Debug("x") }, "DEBUG"},
		{"info", false, func(l *asynqLogger) { l.Info("x") }, "DEBUG"},
		{"warning", false, func(l *asynqLogger) { l.Warn("x") }, "WARN"},
		{"failed delivery", false, func(l *asynqLogger) { l.Warn("Retry exhausted for task id=x") }, "DEBUG"},
		{"error", false, func(l *asynqLogger) { l.Error("x") }, "ERROR"},
		{"warning without Redis", true, func(l *asynqLogger) { l.Warn("x") }, "DEBUG"},
		{"error without Redis", true, func(l *asynqLogger) { l.Error("x") }, "DEBUG"},
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		tt.say(&asynqLogger{log: log, troubled: func() bool { return tt.troubled }})
		if !strings.Contains(out.String(), "level="+tt.want+" ") || !strings.Contains(out.String(), "asynq: ") {
			t.Errorf("%s: logged %q, want level %s", tt.name, out.String(), tt.want)
		}
	}
}

// listening starts a listen of an idle worker. The channel closes when it ends.
func listening(t *testing.T) (*doorbell, *redis.Client, <-chan struct{}) {
	t.Helper()
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { rdb.Close() })
	d := newDoorbell(rdb, "me", []string{"a", "b"})
	ended := make(chan struct{})
	go func() { defer close(ended); d.listen(t.Context()) }()
	return d, rdb, ended
}

// A listen that nobody ends takes listenFor, so one that is ended must be
// quicker than that.
func wantEnded(t *testing.T, began time.Time, ended <-chan struct{}) {
	t.Helper()
	<-ended
	if took := time.Since(began); took >= listenFor {
		t.Errorf("listening took %v, want it ended at once", took)
	}
}

func TestRingOfEitherQueueEndsTheListening(t *testing.T) {
	for _, queue := range []string{"a", "b"} {
		began := time.Now()
		_, rdb, ended := listening(t)
		if err := record.Ring(queue, 1).Run(t.Context(), rdb).Err(); err != nil {
			t.Fatal(err)
		}
		wantEnded(t, began, ended)
	}
}

func TestCloseEndsTheListening(t *testing.T) {
	began := time.Now()
	d, _, ended := listening(t)
	d.close()
	d.close()
	wantEnded(t, began, ended)
}
