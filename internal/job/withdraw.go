package job

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

const (
	// withdrawAtOnce is how many deliveries one run of a script removes at the most, and
	// withdrawWindow how many entries of the pending list are looked at at once: a run
	// takes Redis about a millisecond.
	withdrawAtOnce = 100
	withdrawWindow = 500
	// withdrawNumbers is how many deliveries of a chunk are looked for. There is seldom
	// more than one.
	withdrawNumbers = 3
)

// Unwanted is a job whose deliveries have nothing left to run.
type Unwanted struct {
	Ref
	Chunks []int // those that may have deliveries
}

// DropArguments removes the arguments of the chunks of canceled jobs of one lane, in steps that
// take Redis about a millisecond each. Their records live on without them.
func DropArguments(ctx context.Context, c redis.Scripter, lane string, jobs ...Unwanted) error {
	for _, j := range jobs {
		for chunks := range slices.Chunk(j.Chunks, withdrawWindow) {
			args := append(make([]any, 0, 3+len(chunks)), lane, j.Name, j.Gen)
			for _, chunk := range chunks {
				args = append(args, chunk)
			}
			if err := run(ctx, c, dropArgsScript, lane, args).Err(); err != nil {
				return fmt.Errorf("removing arguments of job %s in lane %q: %w", j.Name, lane, err)
			}
		}
	}
	return nil
}

// Withdraw removes the deliveries of jobs of one lane that no worker has taken, in steps that
// take Redis about a millisecond each, however many there are.
func Withdraw(ctx context.Context, c redis.Cmdable, lane string, jobs ...Unwanted) error {
	pending := map[string]bool{}
	var batch []string
	flush := func() error {
		_, waiting, err := withdraw(ctx, c, lane, batch, 0, 0)
		for _, id := range waiting {
			pending[id] = true
		}
		batch = batch[:0]
		return err
	}
	for _, j := range jobs {
		for _, chunk := range j.Chunks {
			for n := range withdrawNumbers {
				batch = append(batch, Delivery{j.Ref, chunk, n + 1}.TaskID())
			}
			if len(batch) >= withdrawNumbers*withdrawAtOnce {
				if err := flush(); err != nil {
					return fmt.Errorf("withdrawing deliveries from lane %q: %w", lane, err)
				}
			}
		}
	}
	err := flush()
	if err == nil && len(pending) > 0 {
		err = withdrawPending(ctx, c, lane, pending)
	}
	if err != nil {
		return fmt.Errorf("withdrawing deliveries from lane %q: %w", lane, err)
	}
	return nil
}

// withdrawPending removes deliveries from the pending list, of which the newest are in
// front. New ones that come meanwhile move the others back, to where it looks next.
func withdrawPending(ctx context.Context, c redis.Cmdable, lane string, unwanted map[string]bool) error {
	for from := 0; ; {
		ids, err := c.LRange(ctx, asynqfmt.PendingKey(lane), int64(from), int64(from+withdrawWindow-1)).Result()
		if err != nil || len(ids) == 0 {
			return err
		}
		var found []string
		for _, id := range ids {
			if unwanted[id] && len(found) < withdrawAtOnce {
				found = append(found, id)
			}
		}
		if len(found) == 0 {
			from += len(ids)
			continue
		}
		removed, waiting, err := withdraw(ctx, c, lane, found, from, 2*withdrawWindow)
		if err != nil {
			return err
		}
		for _, id := range found {
			delete(unwanted, id)
		}
		for _, id := range waiting { // so many have come that it is further back
			unwanted[id] = true
		}
		if len(unwanted) == 0 {
			return nil
		}
		if len(found) < withdrawAtOnce || removed == 0 {
			from += max(0, len(ids)-removed)
		}
	}
}

// withdraw removes deliveries that wait: those in pending only where they are among n entries
// from the given one on. waiting lists the others that are there.
func withdraw(ctx context.Context, c redis.Cmdable, lane string, ids []string, from, n int) (removed int, waiting []string, err error) {
	if len(ids) == 0 {
		return 0, nil, nil
	}
	args := append(make([]any, 0, 3+len(ids)), lane, from, n)
	for _, id := range ids {
		args = append(args, id)
	}
	reply, err := run(ctx, c, withdrawScript, lane, args).Slice()
	if err != nil {
		return 0, nil, err
	}
	if len(reply) == 2 {
		n, ok := reply[0].(int64)
		left, ok2 := reply[1].([]any)
		for _, id := range left {
			s, _ := id.(string)
			waiting = append(waiting, s)
		}
		if ok && ok2 {
			return int(n), waiting, nil
		}
	}
	return 0, nil, fmt.Errorf("unknown reply %v", reply)
}

// WithdrawFailed removes the failed deliveries of jobs of one lane from asynq's archive, and
// returns how many there were of each. The values of jobs are not looked at.
func WithdrawFailed(ctx context.Context, c redis.Cmdable, lane string, jobs map[Ref]int) (map[Ref]int, error) {
	found := map[Ref]int{}
	for from := 0; ; {
		ids, err := c.ZRange(ctx, asynqfmt.ArchivedKey(lane), int64(from), int64(from+withdrawAtOnce-1)).Result()
		if err != nil || len(ids) == 0 {
			return found, err
		}
		var unwanted []string
		for _, id := range ids {
			if d, ok := ParseTaskID(id); ok {
				if _, ok := jobs[d.Ref]; ok {
					unwanted = append(unwanted, id)
				}
			}
		}
		removed, err := RemoveArchived(ctx, c, lane, unwanted...)
		if err != nil {
			return found, err
		}
		for _, id := range removed {
			d, _ := ParseTaskID(id)
			found[d.Ref]++
		}
		from += len(ids) - len(removed)
	}
}

// RemoveArchived removes failed deliveries from asynq's archive, and returns those that were
// there.
func RemoveArchived(ctx context.Context, c redis.Scripter, lane string, taskIDs ...string) ([]string, error) {
	if len(taskIDs) == 0 {
		return nil, nil
	}
	args := append(make([]any, 0, 2+len(taskIDs)), lane, payloadOf(QueueOf(lane)))
	for _, id := range taskIDs {
		args = append(args, id)
	}
	return run(ctx, c, unarchiveScript, lane, args).StringSlice()
}
