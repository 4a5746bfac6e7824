package job

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// Claim says how a chunk without outcomes stands.
type Claim struct {
	Delivery        // by which its owner runs it; number 1 where it has no owner
	Waits    bool   // it has no outcomes
	Owner    string // the worker that runs it; empty: none does
	Lost     bool   // it has neither arguments nor outcomes
}

// Claims reads how the chunks from to from+n-1 of a job stand. It returns none when the job
// is over or gone.
func Claims(ctx context.Context, c redis.Cmdable, lane string, ref Ref, from, n int) ([]Claim, error) {
	var about *redis.SliceCmd
	var consumed *redis.IntCmd
	args, out := make([]*redis.IntCmd, n), make([]*redis.IntCmd, n) // their lengths: they may be long
	err := inOneTrip(ctx, c, func(p redis.Pipeliner) {
		about = p.HMGet(ctx, Key(lane, ref.Name), append([]string{"about", "gen", "state"}, numbered("own:", from, n)...)...)
		for i := range n {
			chunk := strconv.Itoa(from + i)
			args[i], out[i] = p.HStrLen(ctx, Key(lane, ref.Name), "args:"+chunk), p.HStrLen(ctx, Key(lane, ref.Name), "out:"+chunk)
		}
		consumed = p.HStrLen(ctx, Key(lane, ref.Name), "consumed") // last: outcomes may be consumed meanwhile
	})
	if err != nil {
		return nil, err
	}
	reply := about.Val()
	text := func(i int) string { s, _ := reply[i].(string); return s }
	state := State(text(2))
	if text(0) == "" || text(1) != ref.Gen || state != "" && state != Open {
		return nil, nil
	}
	own := reply[3:]
	claims := make([]Claim, n)
	for i := range claims {
		s := &claims[i]
		s.Delivery = Delivery{Ref: ref, Chunk: from + i, Number: 1}
		s.Waits = args[i].Val() > 0 || own[i] != nil
		s.Lost = args[i].Val() == 0 && out[i].Val() == 0 && consumed.Val() == 0
		if text, ok := own[i].(string); ok {
			if owner, _, number := parseOwner(text); number > 0 {
				s.Owner, s.Number = owner, number
			}
		}
	}
	return claims, nil
}

// Trace is what asynq has of a delivery.
type Trace struct {
	State string // "" for nothing
	Task  string // of the job
	Lost  bool   // it is not where its state says: Redis has lost the list (eviction)

	since int64 // since when it is pending, ns; 0: asynq does not say
}

// clocksDiffer is by how much the clocks of processes that enqueue may differ before
// deliveries are looked for in their list.
const clocksDiffer = 5 * time.Second

// lookedUp is how many deliveries are looked for in their list at once, which takes Redis
// time in proportion to its length.
const lookedUp = 3

// Traces reads what asynq has of deliveries of a lane.
func Traces(ctx context.Context, c redis.Cmdable, lane string, ds []Delivery) ([]Trace, error) {
	ts, cmds, abouts := make([]Trace, len(ds)), make([]*redis.SliceCmd, len(ds)), map[string]*redis.StringCmd{}
	err := inOneTrip(ctx, c, func(p redis.Pipeliner) {
		for i, d := range ds {
			cmds[i] = p.HMGet(ctx, asynqfmt.TaskKey(lane, d.TaskID()), "state", "pending_since")
			if abouts[d.Name] == nil {
				abouts[d.Name] = p.HGet(ctx, Key(lane, d.Name), "about")
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for i, cmd := range cmds {
		ts[i].State, _ = cmd.Val()[0].(string)
		since, _ := cmd.Val()[1].(string)
		ts[i].since, _ = strconv.ParseInt(since, 10, 64)
		if about, err := ParseAbout(abouts[ds[i].Name].Val()); err == nil {
			ts[i].Task = about.Task
		}
	}
	return ts, findLost(ctx, c, lane, ds, ts)
}

// findLost notes which deliveries are not where their states say.
func findLost(ctx context.Context, c redis.Cmdable, lane string, ds []Delivery, ts []Trace) error {
	var pending, active *redis.StringSliceCmd
	waiting := make([]*redis.FloatCmd, len(ds))
	err := inOneTrip(ctx, c, func(p redis.Pipeliner) {
		for i, t := range ts {
			switch {
			case t.State == "pending" && pending == nil:
				pending = p.LRange(ctx, asynqfmt.PendingKey(lane), -1, -1) // the next one to be taken
			case t.State == "active" && active == nil:
				active = p.LRange(ctx, asynqfmt.ActiveKey(lane), 0, -1)
			case t.State == "scheduled":
				waiting[i] = p.ZScore(ctx, asynqfmt.ScheduledKey(lane), ds[i].TaskID())
			case t.State == "retry":
				waiting[i] = p.ZScore(ctx, asynqfmt.RetryKey(lane), ds[i].TaskID())
			}
		}
	})
	if err != nil {
		return err
	}
	oldest, err := oldest(ctx, c, lane, pending)
	if err != nil {
		return err
	}
	var older []int
	for i := range ts {
		switch t := &ts[i]; {
		case t.State == "pending":
			t.Lost = oldest == none
			if !t.Lost && t.since > 0 && t.since < oldest {
				older = append(older, i)
			}
		case t.State == "active":
			t.Lost = !slices.Contains(active.Val(), ds[i].TaskID())
		case waiting[i] != nil:
			t.Lost = errors.Is(waiting[i].Err(), redis.Nil)
		}
	}
	return findOlder(ctx, c, lane, ds, ts, older)
}

// findOlder notes which of the deliveries that should have left their list are lost: their
// times may be by another clock than that of the list's head. Some are looked for. If one of
// these is there, the times of the others say nothing.
func findOlder(ctx context.Context, c redis.Cmdable, lane string, ds []Delivery, ts []Trace, older []int) error {
	rand.Shuffle(len(older), func(i, k int) { older[i], older[k] = older[k], older[i] })
	drawn := older[:min(lookedUp, len(older))]
	places := make([]*redis.IntCmd, len(drawn))
	err := inOneTrip(ctx, c, func(p redis.Pipeliner) {
		for n, i := range drawn {
			places[n] = p.LPos(ctx, asynqfmt.PendingKey(lane), ds[i].TaskID(), redis.LPosArgs{})
		}
	})
	if err != nil {
		return err
	}
	all := true
	for n, i := range drawn {
		ts[i].Lost = errors.Is(places[n].Err(), redis.Nil)
		all = all && ts[i].Lost
	}
	for _, i := range older {
		ts[i].Lost = ts[i].Lost || all
	}
	return nil
}

// none is later than any delivery became pending.
const none = math.MaxInt64

// oldest is when the oldest delivery that is in the list may have become pending at the
// earliest, ns; 0 when asynq does not say, as of one that was given back to its queue. The
// list is first in, first out, so one that became so before that is not in it, as far as
// both times are by one clock.
func oldest(ctx context.Context, c redis.Cmdable, lane string, pending *redis.StringSliceCmd) (int64, error) {
	if pending == nil {
		return 0, nil
	}
	if len(pending.Val()) == 0 {
		return none, nil
	}
	since, err := c.HGet(ctx, asynqfmt.TaskKey(lane, pending.Val()[0]), "pending_since").Int64()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	return since - int64(clocksDiffer), err
}

// inOneTrip sends commands, and returns an error unless Redis has answered each, be it
// with nothing.
func inOneTrip(ctx context.Context, c redis.Cmdable, add func(redis.Pipeliner)) error {
	p := c.Pipeline()
	add(p)
	if p.Len() == 0 {
		return nil
	}
	cmds, _ := p.Exec(ctx)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return damaged(err)
		}
	}
	return nil
}
