package job

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// MaxForwarded bounds how many deliveries of each kind one run of the forward script moves.
const MaxForwarded = 100

// startAhead is how much later than now the time may be, in seconds, for which a delivery that is
// due waits: asynq counts in whole seconds.
const startAhead = 2

// Start makes deliveries pending that wait in asynq's scheduled or retry set and are due now. One
// that has been put off again since then stays. It returns how many became pending.
func Start(ctx context.Context, c redis.Scripter, lane string, now time.Time, taskIDs ...string) (int, error) {
	return run(ctx, c, forwardScript, lane, appendAll([]any{lane, now.Unix() + startAhead, 0}, taskIDs)).Int()
}

// Forward makes deliveries pending that are due. It returns how many these were; more may be
// left where it was MaxForwarded or more.
func Forward(ctx context.Context, c redis.Scripter, lane string, now time.Time) (int, error) {
	return run(ctx, c, forwardScript, lane, []any{lane, now.Unix(), MaxForwarded}).Int()
}

// QueueDelayed adds to a pipeline the question whether deliveries of the lane wait for their
// time. The reply is the number of asynq's sets that are not empty.
func QueueDelayed(ctx context.Context, p redis.Cmdable, lane string) *redis.IntCmd {
	return p.Exists(ctx, asynqfmt.ScheduledKey(lane), asynqfmt.RetryKey(lane))
}
