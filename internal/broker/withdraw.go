package broker

import (
	"context"
	_ "embed" // the script
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

//go:embed withdraw.lua
var withdrawLua string

var withdrawScript = redis.NewScript(withdrawLua)

const (
	// withdrawAtOnce is how many deliveries one run of the script removes at the most, and
	// withdrawWindow how many entries of the pending list are looked at at once: a run
	// takes Redis about a millisecond.
	withdrawAtOnce = 100
	withdrawWindow = 500
	// withdrawNumbers is how many deliveries of a chunk are looked for. There is seldom
	// more than one.
	withdrawNumbers = 3
)

// Unwanted is a job with nothing left to run, and the deliveries to remove.
type Unwanted struct {
	Job    record.Ref
	Chunks []int // chunks that may have deliveries
}

// Withdraw removes the deliveries of jobs that no worker has taken, in steps that take Redis
// about a millisecond each, however many there are.
func (b *Broker) Withdraw(ctx context.Context, queue string, jobs []Unwanted) error {
	pending := map[string]bool{}
	var batch []string
	flush := func() error {
		_, waiting, err := b.withdraw(ctx, queue, batch, 0, 0, false)
		for _, id := range waiting {
			pending[id] = true
		}
		batch = batch[:0]
		return err
	}
	for _, j := range jobs {
		for _, chunk := range j.Chunks {
			for n := range withdrawNumbers {
				batch = append(batch, wire.Delivery{Job: j.Job.ID, Gen: j.Job.Gen, Chunk: chunk, Number: n + 1}.TaskID())
			}
			if len(batch) >= withdrawNumbers*withdrawAtOnce {
				if err := flush(); err != nil {
					return fmt.Errorf("withdrawing deliveries from queue %q: %w", queue, err)
				}
			}
		}
	}
	err := flush()
	if err == nil && len(pending) > 0 {
		err = b.withdrawPending(ctx, queue, pending)
	}
	if err != nil {
		return fmt.Errorf("withdrawing deliveries from queue %q: %w", queue, err)
	}
	return nil
}

// withdrawPending removes deliveries from the pending list, of which the newest are in
// front. New ones that come meanwhile move the others back, to where it looks next.
func (b *Broker) withdrawPending(ctx context.Context, queue string, unwanted map[string]bool) error {
	for from := 0; ; {
		ids, err := b.rdb.LRange(ctx, asynqKey(queue, "pending"), int64(from), int64(from+withdrawWindow-1)).Result()
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
		removed, waiting, err := b.withdraw(ctx, queue, found, from, 2*withdrawWindow, false)
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

// WithdrawFailed removes the failed deliveries of jobs from asynq's archive, and returns
// how many there were of each.
func (b *Broker) WithdrawFailed(ctx context.Context, queue string, jobs map[record.Ref]int) (map[record.Ref]int, error) {
	found := map[record.Ref]int{}
	for from := int64(0); ; {
		ids, err := b.rdb.ZRange(ctx, asynqKey(queue, "archived"), from, from+withdrawAtOnce-1).Result()
		if err != nil || len(ids) == 0 {
			return found, err
		}
		var unwanted []string
		for _, id := range ids {
			if d, ok := wire.ParseTaskID(queue, id); ok {
				ref := record.Ref{ID: d.Job, Gen: d.Gen}
				if _, ok := jobs[ref]; ok {
					unwanted = append(unwanted, id)
					found[ref]++
				}
			}
		}
		removed := 0
		if len(unwanted) > 0 {
			if removed, _, err = b.withdraw(ctx, queue, unwanted, 0, 0, true); err != nil {
				return found, err
			}
		}
		from += int64(len(ids) - removed)
	}
}

// RemoveFailed removes failed deliveries from asynq's archive, and returns how many there
// were.
func (b *Broker) RemoveFailed(ctx context.Context, queue string, ids []string) (int, error) {
	removed, _, err := b.withdraw(ctx, queue, ids, 0, 0, true)
	return removed, err
}

func (b *Broker) withdraw(ctx context.Context, queue string, ids []string, from, n int, failed bool) (removed int, waiting []string, err error) {
	if len(ids) == 0 {
		return 0, nil, nil
	}
	args := make([]any, 4, 4+len(ids))
	args[0], args[1], args[2], args[3] = asynqKey(queue, "t:"), from, n, 0
	if failed {
		args[3] = 1
	}
	for _, id := range ids {
		args = append(args, id)
	}
	keys := []string{asynqKey(queue, "pending"), asynqKey(queue, "scheduled"), asynqKey(queue, "retry"), asynqKey(queue, "archived")}
	reply, err := withdrawScript.Run(ctx, b.rdb, keys, args...).Slice()
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

// asynqKey is a key of a queue of asynq's (v0.26, internal/base).
func asynqKey(queue, name string) string { return "asynq:{" + queue + "}:" + name }
