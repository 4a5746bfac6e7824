package worker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// archiveNewest is how many of the latest entries of an archive every look sees.
	archiveNewest = 200
	// archiveStep is how many of the others: the whole archive, of which asynq keeps
	// 10,000 entries, is seen within 8 looks, which come with each pass if there are
	// so many.
	archiveStep = 1250
	// trimAtOnce is how many entries are removed at once, and trimSteps how often a pass
	// does so for a queue.
	trimAtOnce = 250
	trimSteps  = 40
)

// archive finds deliveries in a queue's archive whose chunks may be waiting for
// them. Nearly all that lie there have ended: deliveries of failed calls are kept
// for operators, within the bounds of the Config.
type archive struct {
	key   string
	from  int64 // rank from which the next step goes on
	small bool  // the last look saw all of it
	empty bool  // and there was nothing
}

func newArchive(queue string) *archive {
	// asynq v0.26, internal/base: ArchivedKey.
	return &archive{key: "asynq:{" + queue + "}:archived"}
}

// look returns IDs of archived deliveries.
func (a *archive) look(ctx context.Context, rdb redis.Cmdable) ([]string, error) {
	found, err := rdb.ZRevRange(ctx, a.key, 0, archiveNewest-1).Result()
	if err != nil {
		return nil, err
	}
	a.small, a.empty = len(found) < archiveNewest, len(found) == 0
	if a.small {
		a.from = 0
		return found, nil
	}
	step, err := rdb.ZRange(ctx, a.key, a.from, a.from+archiveStep-1).Result()
	if err != nil {
		return nil, err
	}
	a.from += archiveStep
	if len(step) < archiveStep {
		a.from = 0
	}
	return append(found, step...), nil // one that is in both is looked at once: it is of one chunk
}

// excess lists deliveries in the archive that are more than so many, or older than the
// given time, but for the first ones, which have been looked at.
func (a *archive) excess(ctx context.Context, rdb redis.Cmdable, size int, before time.Time, lookedAt int) ([]string, error) {
	first := int64(size + lookedAt)
	var many, old *redis.StringSliceCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		many = p.ZRevRange(ctx, a.key, first, first+trimAtOnce-1)
		old = p.ZRangeByScore(ctx, a.key, &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(before.Unix(), 10), Offset: int64(lookedAt), Count: trimAtOnce,
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	ids := slices.Concat(many.Val(), old.Val())
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// trim removes what is too much of the archives of the queues: deliveries of distpool's
// whose chunks are over.
func (s *supervisor) trim(ctx context.Context) error {
	for _, q := range s.queues {
		if a := s.archive[q]; !a.empty {
			if err := s.trimQueue(ctx, q, a); err != nil {
				return fmt.Errorf("removing old failed deliveries of queue %q: %w", q, err)
			}
		}
	}
	return nil
}

func (s *supervisor) trimQueue(ctx context.Context, queue string, a *archive) error {
	kept := 0
	for range trimSteps {
		ids, err := a.excess(ctx, s.w.rdb, s.w.cfg.ArchiveSize, time.Now().Add(-s.w.cfg.ArchiveAge), kept)
		if err != nil || len(ids) == 0 {
			return err
		}
		var ours []string
		var refs []record.ChunkRef
		for _, id := range ids {
			if d, ok := wire.ParseTaskID(queue, id); ok {
				ours, refs = append(ours, id), append(refs, record.ChunkRef{Job: refOf(d), Chunk: d.Chunk})
			}
		}
		holdings, err := record.Holdings(ctx, s.w.rdb, refs)
		if err != nil {
			return err
		}
		var over []string
		for i, id := range ours {
			if !holdings[i].Open {
				over = append(over, id)
			}
		}
		removed, err := s.w.broker.RemoveFailed(ctx, queue, over)
		if err != nil {
			return err
		}
		kept += len(ids) - removed
	}
	return nil
}
