package redisconn

import (
	"bytes"
	"errors"
	"log"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestWhatGoRedisReportsGoesToTheOwnerOfTheClient(t *testing.T) {
	for _, url := range []string{"redis://127.0.0.1:1", "redis://127.0.0.1:1?cluster=true", "redis://127.0.0.1:1?master_name=m"} {
		target, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		var owner, others bytes.Buffer
		target.LogTo(slog.New(slog.NewTextHandler(&owner, &slog.HandlerOptions{Level: slog.LevelDebug})))
		dial := target.dial
		switch {
		case target.cluster != nil:
			dial = target.cluster.Dialer
		case target.failover != nil:
			dial = target.failover.Dialer
		case target.single != nil:
			dial = target.single.Dialer
		}
		_, err = dial(t.Context(), "tcp", "127.0.0.1:1")
		if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" {
			t.Errorf("%s: go-redis would not try again after %v", url, err)
		}
		f := forwarder{log.New(&others, "", 0)}
		f.Printf(t.Context(), "redis: failed to dial after %d attempts: %v", 5, err)
		f.Printf(t.Context(), "of another client: %v", errors.New("refused"))
		if got := owner.String(); !strings.Contains(got, "go-redis: redis: failed to dial after 5") || strings.Contains(got, "another") {
			t.Errorf("%s: its owner's logger has %q", url, got)
		}
		if got := others.String(); got != "of another client: refused\n" {
			t.Errorf("%s: standard error has %q", url, got)
		}
	}
}
