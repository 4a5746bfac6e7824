package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/worker"
)

func TestADelayedRecordingKeepsNoSlot(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	b := newBed(t, rdb)
	b.start(t, worker.Config{Concurrency: 1}, square)
	b.call(t, "warm", "square", "1")
	b.wantValues(t, "warm", 0, "[1]")
	rdb.(*redis.Client).AddHook(slowFinish{})
	began := time.Now()
	for i := range 20 {
		b.call(t, fmt.Sprint("j", i), "square", "2")
	}
	for i := range 20 {
		b.wantValues(t, fmt.Sprint("j", i), 0, "[4]")
	}
	if took := time.Since(began); took > 20*slowBy/2 {
		t.Errorf("20 calls took %v in one slot, with recordings of %v", took, slowBy)
	}
	if n := rdb.Exists(t.Context(), asynqfmt.ActiveKey(b.lane)).Val(); n != 0 {
		t.Error("deliveries are active")
	}
}

const slowBy = 300 * time.Millisecond

// slowFinish delays the requests that record.
type slowFinish struct{}

func (slowFinish) DialHook(next redis.DialHook) redis.DialHook { return next }
func (slowFinish) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); len(args) > 12 && args[12] == "record" {
			time.Sleep(slowBy)
		}
		return next(ctx, cmd)
	}
}
func (slowFinish) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
