package stream

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

func TestAStreamThatBeginsWhileRedisIsAwayFailsWithAnError(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second})
	defer rdb.Close()
	p, err := submit.Open(t.Context(), submit.Config{Redis: rdb, Queue: "q", JobTTL: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	server.Close()
	task := tasks.Declare[int, int]("away")
	var errs []error
	Run(t.Context(), p, task, slices.Values([]int{1, 2, 3}), &submit.Options{Queue: "q"}, true, func(_ int, o results.Outcome[int]) bool {
		errs = append(errs, o.Err)
		return true
	})
	if len(errs) != 1 || errs[0] == nil {
		t.Errorf("the stream yielded %d pairs with the errors %v, want one pair with an error", len(errs), errs)
	}
}
