package producer

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/tasks"
)

func TestAStreamThatBeginsWhileRedisIsAwayFailsWithAnError(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second})
	defer rdb.Close()
	p := &Pool{&pool{fleet: fleet.NewView(rdb)}}
	task := tasks.Declare[int, int]("away")
	var errs []error
	for _, err := range IMap(context.Background(), p, task, slices.Values([]int{1, 2, 3})) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || errs[0] == nil {
		t.Errorf("the stream yielded %d pairs with the errors %v, want one pair with an error", len(errs), errs)
	}
}
