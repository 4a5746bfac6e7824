package supervise

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

const (
	// reviveChunks is how many chunks of a job one Revive looks at.
	reviveChunks = 100
	// reviveNumbers is how many deliveries of a chunk are looked for.
	reviveNumbers = 4
)

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
	if chunks == 0 {
		return 0, nil
	}
	n := min(chunks, reviveChunks)
	from := 0
	if chunks > n {
		from = rand.IntN(chunks - n + 1)
	}
	claims, err := job.Claims(ctx, c, lane, ref, from, n)
	if err != nil {
		return 0, err
	}
	var failed error
	var lost []job.Reissue
	for _, s := range claims {
		switch {
		case s.Lost:
			_, err := job.Cancel(ctx, c, lane, job.Corrupt.Because(lostChunk(s.Chunk)), ref)
			return 0, err
		case !s.Waits:
		case s.Owner == "":
			lost = append(lost, job.Reissue{Delivery: s.Delivery})
		default:
			alive, err := owners.IsAlive(ctx, s.Owner)
			if err == nil && alive {
				err = owners.Ask(ctx, s.Owner, lane, []job.Delivery{s.Delivery})
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("asking worker %s: %w", s.Owner, err))
			} else if !alive {
				lost = append(lost, job.Reissue{Delivery: s.Delivery, Owner: s.Owner, Died: true, Old: s.TaskID()})
			}
		}
	}
	issued, err := reissue(ctx, c, lane, lost)
	return issued, errors.Join(err, failed)
}

// lostChunk says what is wrong with a chunk of which nothing is left.
func lostChunk(chunk int) string {
	return fmt.Sprintf("chunk %d has neither arguments nor outcomes", chunk)
}

// reissue issues those chunks again of which no delivery is on its way.
func reissue(ctx context.Context, c redis.UniversalClient, lane string, lost []job.Reissue) (int, error) {
	if len(lost) == 0 {
		return 0, nil
	}
	var ds []job.Delivery
	for _, l := range lost {
		for n := range reviveNumbers {
			ds = append(ds, job.Delivery{Ref: l.Ref, Chunk: l.Chunk, Number: l.Number + n})
		}
	}
	traces, err := job.Traces(ctx, c, lane, ds)
	if err != nil {
		return 0, err
	}
	var again []job.Reissue
	for i, l := range lost {
		next := nextNumber(traces[i*reviveNumbers:][:reviveNumbers])
		if next < 0 {
			continue
		}
		l.Number += next
		l.Message = job.Message(lane, traces[i*reviveNumbers].Task, l.Delivery, "", time.Time{})
		again = append(again, l)
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

// nextNumber is the number of the delivery to issue, counted from the first one; -1 when one is on
// its way.
func nextNumber(traces []job.Trace) int {
	next := 0
	for i, t := range traces {
		switch {
		case t.State == "":
		case t.State == "archived", t.State == "completed", t.Lost:
			next = i + 1
		default: // pending, active, scheduled or retry: it will come
			return -1
		}
	}
	return next
}
