package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// reviveChunks is how many chunks of a job are looked at at once. Which ones is
	// drawn anew each time, and the lost ones are what remains in the end.
	reviveChunks = 64
	// reviveNumbers is how many deliveries of a chunk are looked for. There are
	// seldom more than one; should one with a higher number be on its way, the
	// delivery that is issued beside it finds the chunk taken.
	reviveNumbers = 6
)

// Revive issues chunks of the job again that nobody runs and of which asynq has
// no delivery that would ever be run: it was deleted or archived by an operator,
// or lost. It returns how many it issued. Workers that are alive and hold chunks of
// the job are asked whether they run them; what they do not is released, and issued
// again the next time.
func (b *Broker) Revive(ctx context.Context, job record.Ref, queue, task string) (int, error) {
	chunks, failed := b.unclaimed(ctx, job)
	n, err := b.issueAgain(ctx, job, queue, task, chunks)
	return n, errors.Join(failed, err)
}

// issueAgain issues those of the job's chunks that have no delivery on its way, and
// returns how many.
func (b *Broker) issueAgain(ctx context.Context, job record.Ref, queue, task string, chunks []int) (int, error) {
	if len(chunks) == 0 {
		return 0, nil
	}
	ds := make([]wire.Delivery, 0, reviveNumbers*len(chunks))
	for _, chunk := range chunks {
		for n := range reviveNumbers {
			ds = append(ds, wire.Delivery{Job: job.ID, Gen: job.Gen, Chunk: chunk, Number: n + 1})
		}
	}
	traces, err := b.traces(ctx, queue, ds)
	if err != nil {
		return 0, err
	}
	var again []wire.Delivery
	for i, chunk := range chunks {
		if n := nextNumber(traces[reviveNumbers*i:][:reviveNumbers]); n > 0 {
			again = append(again, wire.Delivery{Job: job.ID, Gen: job.Gen, Chunk: chunk, Number: n})
		}
	}
	if len(again) == 0 {
		return 0, nil
	}
	return len(again), b.Enqueue(ctx, queue, task, again)
}

// unclaimed draws chunks of the job without outcomes that no live worker holds, and
// asks those that hold others. Should that fail, there are chunks beside the error.
func (b *Broker) unclaimed(ctx context.Context, job record.Ref) (chunks []int, failed error) {
	waiting, err := record.Waiting(ctx, b.rdb, job, reviveChunks)
	if err != nil {
		return nil, err
	}
	held := map[string][]fleet.Question{}
	for chunk, owner := range waiting {
		if owner == "" {
			chunks = append(chunks, chunk)
		} else {
			held[owner] = append(held[owner], fleet.Question{Job: job.ID, Gen: job.Gen, Chunk: chunk})
		}
	}
	for owner, asked := range held {
		alive, err := fleet.Alive(ctx, b.rdb, owner)
		if err == nil && alive {
			err = fleet.Ask(ctx, b.rdb, owner, asked)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("asking worker %s: %w", owner, err))
		} else if !alive {
			for _, q := range asked {
				chunks = append(chunks, q.Chunk)
			}
		}
	}
	return chunks, failed
}

// Reissue issues the chunks of deliveries that are lost again, each unless a later
// delivery of it is on its way. It returns for each the number of the delivery that it
// issued, 0 for none. All are of one task; there should be no more than some hundred,
// since they share a round trip.
func (b *Broker) Reissue(ctx context.Context, queue, task string, lost []wire.Delivery) ([]int, error) {
	ds := make([]wire.Delivery, 0, reviveNumbers*len(lost))
	for _, d := range lost {
		for range reviveNumbers {
			d.Number++
			ds = append(ds, d)
		}
	}
	traces, err := b.traces(ctx, queue, ds)
	if err != nil {
		return nil, err
	}
	sent := make([]int, len(lost))
	var again []wire.Delivery
	for i, d := range lost {
		if n := nextNumber(traces[reviveNumbers*i:][:reviveNumbers]); n > 0 {
			d.Number += n
			sent[i] = d.Number
			again = append(again, d)
		}
	}
	if len(again) == 0 {
		return sent, nil
	}
	return sent, b.Enqueue(ctx, queue, task, again)
}

// nextNumber is the number of the delivery to issue, 0 when one is on its way.
func nextNumber(traces []trace) int {
	last := 0
	for i, t := range traces {
		switch {
		case t.state == "":
		case t.state == "archived", t.state == "completed", t.lost:
			last = i + 1
		default: // pending, active, scheduled or retry: it will come
			return 0
		}
	}
	return last + 1
}
