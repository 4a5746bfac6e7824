package job

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
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
func Start(ctx context.Context, c redis.UniversalClient, lane string, now time.Time, taskIDs ...string) (int, error) {
	return run(ctx, c, forwardScript, lane, appendAll([]any{lane, now.Unix() + startAhead, 0}, taskIDs)).Int()
}

// Forward makes deliveries pending that are due. It returns how many these were; more may be
// left where it was MaxForwarded or more.
func Forward(ctx context.Context, c redis.UniversalClient, lane string, now time.Time) (int, error) {
	return run(ctx, c, forwardScript, lane, []any{lane, now.Unix(), MaxForwarded}).Int()
}

const (
	// withdrawAtOnce is how many deliveries one run of the withdraw script removes at the most,
	// withdrawWindow how many entries of the pending list a walk looks at at once, and withdrawPlaces how
	// many deliveries one run looks for at their places in the list: a run takes Redis about a millisecond.
	withdrawAtOnce = 100
	withdrawWindow = 500
	withdrawPlaces = 4
	// withdrawNumbers is how many deliveries of a chunk are looked for. There is seldom
	// more than one.
	withdrawNumbers = 3
)

// Unwanted is a job whose deliveries have nothing left to run.
type Unwanted struct {
	Ref
	Chunks []int // those that may have deliveries
}

// chunksOf yields the chunks of the jobs, each as its first delivery.
func chunksOf(jobs []Unwanted) iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		for _, j := range jobs {
			for _, chunk := range j.Chunks {
				if !yield(Delivery{j.Ref, chunk, 1}) {
					return
				}
			}
		}
	}
}

// inSteps calls do with n of the values at a time.
func inSteps[T any](values iter.Seq[T], n int, do func([]T) error) error {
	some := make([]T, 0, n)
	for v := range values {
		if some = append(some, v); len(some) == n {
			if err := do(some); err != nil {
				return err
			}
			some = some[:0]
		}
	}
	if len(some) == 0 {
		return nil
	}
	return do(some)
}

// Withdraw removes the deliveries of jobs of one lane that no worker has taken, in steps that
// take Redis about a millisecond each, however many there are.
func Withdraw(ctx context.Context, c redis.UniversalClient, lane string, jobs ...Unwanted) error {
	var pending []left
	err := inSteps(chunksOf(jobs), withdrawAtOnce, func(chunks []Delivery) error {
		var ids []string
		for _, d := range chunks {
			for d.Number = 1; d.Number <= withdrawNumbers; d.Number++ {
				ids = append(ids, d.TaskID())
			}
		}
		these, err := withdraw(ctx, c, lane, "", 0, 0, ids)
		pending = append(pending, these...)
		return err
	})
	// Those that came together lie side by side, and go together.
	slices.SortFunc(pending, func(a, b left) int { return strings.Compare(a.since, b.since) })
	for some := range slices.Chunk(pending, withdrawAtOnce) {
		if err == nil {
			err = withdrawPending(ctx, c, lane, idsOf(some))
		}
	}
	if err != nil {
		err = fmt.Errorf("withdrawing deliveries from lane %q: %w", lane, err)
	}
	return err
}

// withdrawPending removes deliveries from the pending list: each from its place, with those beside it; and
// those that are not at their places in a walk through the list. Of the list the newest are in front.
// Deliveries that come meanwhile move the others back, to where the walk looks next.
func withdrawPending(ctx context.Context, c redis.UniversalClient, lane string, ids []string) error {
	for before := len(ids) + 1; 0 < len(ids) && len(ids) < before; {
		before = len(ids)
		those, err := withdraw(ctx, c, lane, "", -1, withdrawPlaces, ids)
		if err != nil {
			return err
		}
		ids = idsOf(those)
	}
	for from := int64(0); len(ids) > 0; from += withdrawWindow {
		n, err := c.LLen(ctx, asynqfmt.PendingKey(lane)).Result()
		if err != nil || from >= n {
			return err
		}
		those, err := withdraw(ctx, c, lane, "", from, 2*withdrawWindow, ids)
		if err != nil {
			return err
		}
		ids = idsOf(those)
	}
	return nil
}

// WithdrawFailed removes the failed deliveries of jobs of one lane from asynq's archive, and
// returns how many there were of each. The values of jobs are not looked at.
func WithdrawFailed(ctx context.Context, c redis.UniversalClient, lane string, jobs map[Ref]int) (map[Ref]int, error) {
	found := map[Ref]int{}
	for from := 0; ; {
		ids, err := OldestArchived(ctx, c, lane, from, withdrawAtOnce)
		if err != nil || len(ids) == 0 {
			return found, err
		}
		from += len(ids)
		ids = slices.DeleteFunc(ids, func(id string) bool {
			d, ok := ParseTaskID(id)
			_, unwanted := jobs[d.Ref]
			return !ok || !unwanted
		})
		those, err := withdraw(ctx, c, lane, string(appendPayloadHead(nil, lane, "")), 0, 0, ids)
		if err != nil {
			return found, err
		}
		left := idsOf(those)
		from -= len(ids) - len(left)
		for _, id := range ids {
			if !slices.Contains(left, id) {
				d, _ := ParseTaskID(id)
				found[d.Ref]++
			}
		}
	}
}

// left is a delivery that waits still.
type left struct {
	since string // it is pending, in ns, all of the same length; empty: it is not pending
	id    string
}

func idsOf(all []left) []string {
	ids := make([]string, len(all))
	for i, l := range all {
		ids[i] = l.id
	}
	return ids
}

// withdraw removes deliveries that wait, those in pending as withdraw.lua says of from and n; with a
// head, with which payloads begin, archived ones too. It returns those that are there still.
func withdraw(ctx context.Context, c redis.UniversalClient, lane, head string, from int64, n int, ids []string) ([]left, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	reply, err := run(ctx, c, withdrawScript, lane, appendAll([]any{lane, head, from, n}, ids)).StringSlice()
	all := make([]left, len(reply))
	for i, s := range reply {
		all[i].since, all[i].id, _ = strings.Cut(s, " ")
	}
	return all, err
}

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
func TrimArchive(ctx context.Context, c redis.UniversalClient, lane string, keep int, age time.Duration, now time.Time) (int, error) {
	return run(ctx, c, trimScript, lane, []any{lane, keep, now.Add(-age).Unix(), MaxTrimmed}).Int()
}
