package broker

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/wire"
)

// trace is what asynq has of a delivery.
type trace struct {
	state string // "" for nothing
	since int64  // since when it is pending, ns; 0: asynq does not say
	lost  bool   // it is not where its state says: Redis has lost the list (eviction)
}

// clocksDiffer is by how much the clocks of processes that enqueue may differ before
// deliveries are looked for in their list.
const clocksDiffer = 5 * time.Second

// lookedUp is how many deliveries are looked for in their list at once, which takes Redis
// time in proportion to its length.
const lookedUp = 3

// traces reads what asynq has of deliveries of a queue (asynq v0.26, internal/base).
func (b *Broker) traces(ctx context.Context, queue string, ds []wire.Delivery) ([]trace, error) {
	prefix := "asynq:{" + queue + "}:"
	ts, cmds := make([]trace, len(ds)), make([]*redis.SliceCmd, len(ds))
	err := b.inOneTrip(ctx, func(p redis.Pipeliner) {
		for i, d := range ds {
			cmds[i] = p.HMGet(ctx, prefix+"t:"+d.TaskID(), "state", "pending_since")
		}
	})
	if err != nil {
		return nil, err
	}
	for i, cmd := range cmds {
		ts[i].state, _ = cmd.Val()[0].(string)
		since, _ := cmd.Val()[1].(string)
		ts[i].since, _ = strconv.ParseInt(since, 10, 64)
	}
	return ts, b.findLost(ctx, prefix, ds, ts)
}

// findLost notes which deliveries are not where their states say.
func (b *Broker) findLost(ctx context.Context, prefix string, ds []wire.Delivery, ts []trace) error {
	var pending, active *redis.StringSliceCmd
	waiting := make([]*redis.FloatCmd, len(ds))
	err := b.inOneTrip(ctx, func(p redis.Pipeliner) {
		for i, t := range ts {
			switch {
			case t.state == "pending" && pending == nil:
				pending = p.LRange(ctx, prefix+"pending", -1, -1) // the next one to be taken
			case t.state == "active" && active == nil:
				active = p.LRange(ctx, prefix+"active", 0, -1)
			case t.state == "scheduled" || t.state == "retry":
				waiting[i] = p.ZScore(ctx, prefix+t.state, ds[i].TaskID())
			}
		}
	})
	if err != nil {
		return err
	}
	oldest, err := b.oldest(ctx, prefix, pending)
	if err != nil {
		return err
	}
	var older []int
	for i := range ts {
		switch t := &ts[i]; {
		case t.state == "pending":
			t.lost = oldest == none
			if !t.lost && t.since > 0 && t.since < oldest {
				older = append(older, i)
			}
		case t.state == "active":
			t.lost = !slices.Contains(active.Val(), ds[i].TaskID())
		case waiting[i] != nil:
			t.lost = errors.Is(waiting[i].Err(), redis.Nil)
		}
	}
	return b.findOlder(ctx, prefix, ds, ts, older)
}

// findOlder notes which of the deliveries that should have left their list are lost: their
// times may be by another clock than that of the list's head. Some are looked for. If one of
// these is there, the times of the others say nothing.
func (b *Broker) findOlder(ctx context.Context, prefix string, ds []wire.Delivery, ts []trace, older []int) error {
	rand.Shuffle(len(older), func(i, k int) { older[i], older[k] = older[k], older[i] })
	drawn := older[:min(lookedUp, len(older))]
	places := make([]*redis.IntCmd, len(drawn))
	err := b.inOneTrip(ctx, func(p redis.Pipeliner) {
		for n, i := range drawn {
			places[n] = p.LPos(ctx, prefix+"pending", ds[i].TaskID(), redis.LPosArgs{})
		}
	})
	if err != nil {
		return err
	}
	all := true
	for n, i := range drawn {
		ts[i].lost = errors.Is(places[n].Err(), redis.Nil)
		all = all && ts[i].lost
	}
	for _, i := range older {
		ts[i].lost = ts[i].lost || all
	}
	return nil
}

// none is later than any delivery became pending.
const none = math.MaxInt64

// oldest is when the oldest delivery that is in the list may have become pending at the
// earliest, ns; 0 when asynq does not say, as of one that was given back to its queue. The
// list is first in, first out, so one that became so before that is not in it, as far as
// both times are by one clock.
func (b *Broker) oldest(ctx context.Context, prefix string, pending *redis.StringSliceCmd) (int64, error) {
	if pending == nil {
		return 0, nil
	}
	if len(pending.Val()) == 0 {
		return none, nil
	}
	since, err := b.rdb.HGet(ctx, prefix+"t:"+pending.Val()[0], "pending_since").Int64()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	return since - int64(clocksDiffer), err
}

// inOneTrip sends commands, and returns an error unless Redis has answered each, be it
// with nothing.
func (b *Broker) inOneTrip(ctx context.Context, add func(redis.Pipeliner)) error {
	p := b.rdb.Pipeline()
	add(p)
	if p.Len() == 0 {
		return nil
	}
	cmds, _ := p.Exec(ctx)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}
