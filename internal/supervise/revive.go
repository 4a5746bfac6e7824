package supervise

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// reviveChunks is how many chunks of a job one Revive looks at.
const reviveChunks = 100

// Owners is what Revive asks of the workers.
type Owners interface {
	// IsAlive reports whether the worker lives.
	IsAlive(ctx context.Context, worker string) (bool, error)
	// Ask asks a worker whether it runs these chunks. It gives back those that it does not.
	Ask(ctx context.Context, worker, lane string, chunks []job.Delivery) error
}

// Revive issues chunks of a job again that nothing will run any more: their deliveries were
// lost, deleted or archived. It ends the job if one of its chunks is lost. It looks at some
// chunks, from one at random on, so that repeated calls see all. It returns how many it issued.
func Revive(ctx context.Context, c redis.UniversalClient, owners Owners, lane string, ref job.Ref, chunks int) (int, error) {
	n := min(chunks, reviveChunks)
	from := rand.IntN(chunks - n + 1)
	ds := make([]job.Delivery, n)
	for i := range ds {
		ds[i] = job.Delivery{Ref: ref, Chunk: from + i, Number: 1}
	}
	stands, err := job.Stands(ctx, c, lane, ds)
	if err != nil {
		return 0, err
	}
	var failed error
	var lost []job.Reissue
	for i, s := range stands {
		d := ds[i]
		d.Number = max(d.Number, s.Number)
		switch {
		case s.Lost:
			_, err := condemn(ctx, c, lane, d)
			return 0, err
		case !s.Waits:
		case s.Owner == "":
			lost = append(lost, job.Reissue{Delivery: d, Task: s.Task})
		default:
			alive, err := owners.IsAlive(ctx, s.Owner)
			if err == nil && alive {
				err = owners.Ask(ctx, s.Owner, lane, []job.Delivery{d})
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("asking worker %s: %w", s.Owner, err))
			} else if !alive {
				lost = append(lost, job.Reissue{Delivery: d, Task: s.Task, Owner: s.Owner, Died: true, Old: d.TaskID()})
			}
		}
	}
	issued, err := reissue(ctx, c, lane, lost)
	return issued, errors.Join(err, failed)
}

// condemn ends the job of a chunk that is lost. It reports whether the job is canceled.
func condemn(ctx context.Context, c redis.UniversalClient, lane string, d job.Delivery) (bool, error) {
	why := job.Corrupt.Because(fmt.Sprintf("chunk %d has neither arguments nor outcomes", d.Chunk))
	states, err := job.Cancel(ctx, c, lane, why, d.Ref)
	return err == nil && states[0] == job.Canceled, err
}

// reissue issues those chunks again of which no delivery is on its way.
func reissue(ctx context.Context, c redis.UniversalClient, lane string, lost []job.Reissue) (int, error) {
	if len(lost) == 0 {
		return 0, nil
	}
	// In another order each time: see job.NextNumbers.
	rand.Shuffle(len(lost), func(i, k int) { lost[i], lost[k] = lost[k], lost[i] })
	ds := make([]job.Delivery, len(lost))
	for i, l := range lost {
		ds[i] = l.Delivery
	}
	numbers, err := job.NextNumbers(ctx, c, lane, ds)
	if err != nil {
		return 0, err
	}
	var again []job.Reissue
	for i, l := range lost {
		if l.Number = numbers[i]; l.Number > 0 {
			again = append(again, l)
		}
	}
	states, err := job.ReissueAll(ctx, c, lane, again...)
	issued := 0
	for _, s := range states {
		if s == job.Reissued {
			issued++
		}
	}
	return issued, err
}
