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
	// withdrawPlaces is how many deliveries one run looks for at their places in a pending list, and
	// placeCosts how many entries are walked through at the price of one such look.
	withdrawPlaces = 4
	placeCosts     = 300
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
	args, n := []any{lane}, 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		err := run(ctx, c, dropArgsScript, lane, args).Err()
		if args, n = args[:1], 0; err != nil {
			return fmt.Errorf("removing arguments of canceled jobs in lane %q: %w", lane, err)
		}
		return nil
	}
	for _, j := range jobs {
		for chunks := range slices.Chunk(j.Chunks, withdrawWindow) {
			if n+len(chunks) > withdrawWindow {
				if err := flush(); err != nil {
					return err
				}
			}
			args = appendAll(append(args, j.Name, j.Gen, len(chunks)), chunks)
			n += len(chunks)
		}
	}
	return flush()
}

// Withdraw removes the deliveries of jobs of one lane that no worker has taken, in steps that
// take Redis about a millisecond each, however many there are.
func Withdraw(ctx context.Context, c redis.Cmdable, lane string, jobs ...Unwanted) error {
	err := withdrawAll(ctx, c, lane, jobs)
	if err != nil {
		err = fmt.Errorf("withdrawing deliveries from lane %q: %w", lane, err)
	}
	return err
}

func withdrawAll(ctx context.Context, c redis.Cmdable, lane string, jobs []Unwanted) error {
	var batch, pending []string
	flush := func() error {
		waiting, err := withdraw(ctx, c, lane, batch, 0, 0)
		pending, batch = append(pending, waiting...), batch[:0]
		return err
	}
	for _, j := range jobs {
		for _, chunk := range j.Chunks {
			for n := range withdrawNumbers {
				batch = append(batch, Delivery{j.Ref, chunk, n + 1}.TaskID())
			}
			if len(batch) >= withdrawNumbers*withdrawAtOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if err := flush(); err != nil || len(pending) == 0 {
		return err
	}
	return withdrawPending(ctx, c, lane, pending)
}

// withdrawPending removes deliveries from the pending list: a few of many each from its place, and
// all others in one walk.
func withdrawPending(ctx context.Context, c redis.Cmdable, lane string, ids []string) error {
	n, err := c.LLen(ctx, asynqfmt.PendingKey(lane)).Result()
	if err != nil {
		return err
	}
	unwanted := map[string]bool{}
	for some := range slices.Chunk(ids, withdrawAtOnce) {
		for before := len(some) + 1; len(some) > 0 && len(some) < before && n > int64(len(ids))*placeCosts; {
			before = len(some)
			if some, err = withdraw(ctx, c, lane, some, -1, withdrawPlaces); err != nil {
				return err
			}
		}
		for _, id := range some {
			unwanted[id] = true
		}
	}
	return withdrawWalking(ctx, c, lane, unwanted)
}

// withdrawWalking removes deliveries from the pending list, of which the newest are in
// front. New ones that come meanwhile move the others back, to where it looks next.
func withdrawWalking(ctx context.Context, c redis.Cmdable, lane string, unwanted map[string]bool) error {
	for from := 0; len(unwanted) > 0; {
		ids, err := c.LRange(ctx, asynqfmt.PendingKey(lane), int64(from), int64(from+withdrawWindow-1)).Result()
		if err != nil || len(ids) == 0 {
			return err
		}
		var found []string
		for _, id := range ids {
			if unwanted[id] && len(found) < withdrawAtOnce {
				found = append(found, id)
				delete(unwanted, id)
			}
		}
		waiting, err := withdraw(ctx, c, lane, found, from, 2*withdrawWindow)
		if err != nil {
			return err
		}
		for _, id := range waiting { // so many have come that it is further back
			unwanted[id] = true
		}
		if removed := len(found) - len(waiting); len(found) < withdrawAtOnce || removed == 0 {
			from += len(ids) - removed
		}
	}
	return nil
}

// withdraw removes deliveries that wait, those in pending as withdraw.lua says of from and n. It
// returns the others that are in pending.
func withdraw(ctx context.Context, c redis.Scripter, lane string, ids []string, from, n int) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return run(ctx, c, withdrawScript, lane, appendAll([]any{lane, from, n}, ids)).StringSlice()
}
