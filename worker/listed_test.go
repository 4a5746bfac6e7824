package worker

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestAnIdleServerIsListedWithOneCommandAndABusyOneAsAsynqDoesIt(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	d := newDoorbell(rdb, "me", []string{"q"})
	asynqs := 0
	write := func(args ...any) {
		t.Helper()
		all := append([]any{10.0, "the server"}, args...)
		keys := []string{"asynq:servers:{me}", "asynq:workers:{me}"}
		if !isListing(record.AsynqListing, keys, all) {
			t.Fatal("asynq's script is not recognised")
		}
		err := d.listed.write(t.Context(), rdb, keys, all, func() *redis.Cmd {
			asynqs++
			cmd := redis.NewCmd(t.Context())
			cmd.SetVal("OK")
			return cmd
		}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	write()
	if asynqs != 1 {
		t.Error("asynq's script was not sent at first: what was there is not known")
	}
	write()
	write()
	if v, ttl := rdb.Get(t.Context(), "asynq:servers:{me}").Val(), server.TTL("asynq:servers:{me}"); asynqs != 1 || v != "the server" || ttl != 10*time.Second {
		t.Errorf("an idle server: asynq's script was sent %d times, and the list says %q for %v", asynqs, v, ttl)
	}
	write("id", "a task")
	write("id", "a task")
	if asynqs != 3 {
		t.Errorf("of a server that runs something, asynq's script was sent %d times, want 2", asynqs-1)
	}
	write() // what it ran must go
	write()
	if asynqs != 4 {
		t.Errorf("of a server that runs nothing any more, asynq's script was sent %d times, want 1", asynqs-3)
	}
}
