package worker

import (
	"context"

	"github.com/redis/go-redis/v9"
)

const (
	// archiveNewest is how many of the latest entries of an archive every look sees.
	archiveNewest = 200
	// archiveStep is how many of the others: the whole archive, of which asynq keeps
	// 10,000 entries, is seen within 8 looks, which come with each pass if there are
	// so many.
	archiveStep = 1250
	// archiveSettled bounds what is remembered.
	archiveSettled = 20_000
)

// archive finds deliveries in a queue's archive whose chunks may be waiting for
// them. Nearly all that lie there have ended: deliveries of failed calls are kept
// for operators. Those are remembered, so that a look costs two reads of the list
// and nothing else, and one if the newest are all.
type archive struct {
	key     string
	settled map[string]bool // asynq task IDs of chunks that are over
	from    int64           // rank from which the next step goes on
	small   bool            // the last look saw all of it
}

func newArchive(queue string) *archive {
	// asynq v0.26, internal/base: ArchivedKey.
	return &archive{key: "asynq:{" + queue + "}:archived", settled: map[string]bool{}}
}

// look returns IDs of archived deliveries that are not known to be settled.
func (a *archive) look(ctx context.Context, rdb redis.Cmdable) ([]string, error) {
	found, err := rdb.ZRevRange(ctx, a.key, 0, archiveNewest-1).Result()
	if err != nil {
		return nil, err
	}
	a.small = len(found) < archiveNewest
	if a.small {
		a.from = 0
	} else {
		step, err := rdb.ZRange(ctx, a.key, a.from, a.from+archiveStep-1).Result()
		if err != nil {
			return nil, err
		}
		found = append(found, step...)
		a.from += archiveStep
		if len(step) < archiveStep {
			a.from = 0
		}
	}
	var ids []string
	for _, id := range found { // one that is in both is looked at once: it is of one chunk
		if !a.settled[id] {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// settle notes that the delivery needs no second look.
func (a *archive) settle(id string) {
	if len(a.settled) >= archiveSettled {
		clear(a.settled) // it costs a look at each of them
	}
	a.settled[id] = true
}
