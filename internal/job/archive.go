package job

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// Archived lists n archived deliveries of a lane, from the newest on, and skips the first ones.
func Archived(ctx context.Context, c redis.Cmdable, lane string, skip, n int) ([]string, error) {
	return c.ZRevRange(ctx, asynqfmt.ArchivedKey(lane), int64(skip), int64(skip+n-1)).Result()
}

// OldestArchived is Archived from the oldest on.
func OldestArchived(ctx context.Context, c redis.Cmdable, lane string, skip, n int) ([]string, error) {
	return c.ZRange(ctx, asynqfmt.ArchivedKey(lane), int64(skip), int64(skip+n-1)).Result()
}

// MaxTrimmed is the number of deliveries that one TrimArchive removes at the most.
const MaxTrimmed = 500

// TrimArchive removes archived deliveries of a lane that are older than the given age, and
// the oldest ones beyond the given number; up to MaxTrimmed. It returns how many it removed.
func TrimArchive(ctx context.Context, c redis.Scripter, lane string, keep int, age time.Duration, now time.Time) (int, error) {
	return run(ctx, c, trimScript, lane, []any{lane, keep, now.Add(-age).Unix(), MaxTrimmed}).Int()
}

// WithdrawFailed removes the failed deliveries of jobs of one lane from asynq's archive, and
// returns how many there were of each. The values of jobs are not looked at.
func WithdrawFailed(ctx context.Context, c redis.Cmdable, lane string, jobs map[Ref]int) (map[Ref]int, error) {
	found := map[Ref]int{}
	for from := 0; ; {
		ids, err := OldestArchived(ctx, c, lane, from, withdrawAtOnce)
		if err != nil || len(ids) == 0 {
			return found, err
		}
		unwanted := []any{lane, payloadOf(lane, "")}
		for _, id := range ids {
			if d, ok := ParseTaskID(id); ok {
				if _, ok := jobs[d.Ref]; ok {
					unwanted = append(unwanted, id)
				}
			}
		}
		from += len(ids)
		if len(unwanted) == 2 {
			continue
		}
		removed, err := run(ctx, c, unarchiveScript, lane, unwanted).StringSlice()
		if err != nil {
			return found, err
		}
		for _, id := range removed {
			d, _ := ParseTaskID(id)
			found[d.Ref]++
		}
		from -= len(removed)
	}
}
