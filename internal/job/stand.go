package job

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// Stand says how a chunk stands.
type Stand struct {
	Task   string // of its job; empty: there is no such job, or its record does not parse
	Waits  bool   // it has no outcomes, and its job is not over
	Lost   bool   // it has neither arguments nor outcomes, and its job is not over: the job cannot end
	Owner  string // the worker that runs it; empty: none does
	Number int    // of the delivery by which its owner runs it; 0: it has no owner
}

// Stands reads how chunks of one lane stand. Of a damaged record it says nothing.
func Stands(ctx context.Context, c redis.Cmdable, lane string, chunks []Delivery) ([]Stand, error) {
	jobs, args := make([]*redis.SliceCmd, len(chunks)), make([]*redis.BoolCmd, len(chunks))
	err := inOneTrip(ctx, c, func(p redis.Pipeliner) {
		for i, d := range chunks {
			jobs[i] = p.HMGet(ctx, Key(lane, d.Name), "about", "gen", "state", "own:"+strconv.Itoa(d.Chunk))
			args[i] = p.HExists(ctx, Key(lane, d.Name), ArgsOf(d.Chunk)) // they may be long
		}
	})
	if err != nil {
		return nil, err
	}
	all := make([]Stand, len(chunks))
	var suspects []int
	for i, cmd := range jobs {
		reply := append(cmd.Val(), nil, nil, nil, nil) // it has none where the record is damaged
		text := func(i int) string { s, _ := reply[i].(string); return s }
		about, err := ParseAbout(text(0))
		if err != nil || text(1) != chunks[i].Gen {
			continue
		}
		s := &all[i]
		s.Task = about.Task
		if state := State(text(2)); state != "" && state != Open {
			continue
		}
		s.Owner, _, s.Number = ParseOwner(text(3))
		if s.Waits = s.Owner != "" || args[i].Val(); !s.Waits {
			suspects = append(suspects, i)
		}
	}
	return all, findLost(ctx, c, lane, chunks, all, suspects)
}

// findLost notes which of the suspects, chunks without arguments, have no outcomes either. Those
// that a stream has consumed are counted in the job.
func findLost(ctx context.Context, c redis.Cmdable, lane string, chunks []Delivery, all []Stand, suspects []int) error {
	there := make([]*redis.BoolCmd, 0, 2*len(suspects))
	err := inOneTrip(ctx, c, func(p redis.Pipeliner) {
		for _, i := range suspects {
			key := Key(lane, chunks[i].Name)
			// In this order: outcomes may be consumed meanwhile.
			there = append(there, p.HExists(ctx, key, OutOf(chunks[i].Chunk)), p.HExists(ctx, key, "consumed"))
		}
	})
	for n, i := range suspects {
		all[i].Lost = err == nil && !there[2*n].Val() && !there[2*n+1].Val()
	}
	return err
}

// ParseOwner reads a field own:K: the worker, since when it runs the chunk (Unix, ms), and by
// which delivery; 0 where the field does not say.
func ParseOwner(own string) (worker string, since int64, number int) {
	worker, rest, _ := strings.Cut(own, " ")
	at, by, _ := strings.Cut(rest, " ")
	since, _ = strconv.ParseInt(at, 10, 64)
	number, _ = strconv.Atoi(by)
	return worker, since, number
}

// inOneTrip sends commands, and returns an error unless Redis has answered each, be it with
// nothing, or that the record is damaged.
func inOneTrip(ctx context.Context, c redis.Cmdable, add func(redis.Pipeliner)) error {
	p := c.Pipeline()
	add(p)
	if p.Len() == 0 {
		return nil
	}
	cmds, _ := p.Exec(ctx)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) && !IsDamaged(err) {
			return err
		}
	}
	return nil
}

// Active lists the deliveries of a lane that workers have taken, the oldest last.
func Active(ctx context.Context, c redis.Cmdable, lane string) ([]string, error) {
	return c.LRange(ctx, asynqfmt.ActiveKey(lane), 0, -1).Result()
}

// NextNumbers finds the numbers of the deliveries to issue for chunks that wait without an owner:
// behind those that are archived, or that are not in their list, which Redis may have lost
// (eviction). The number is 0 where a delivery is on its way. It looks from the given delivery of
// each chunk on. Of deliveries that may have left a long pending list it looks for the first one
// only; see trace.lua.
func NextNumbers(ctx context.Context, c redis.Scripter, lane string, chunks []Delivery) ([]int, error) {
	args := []any{lane}
	for _, d := range chunks {
		args = append(args, d.TaskID())
	}
	reply, err := run(ctx, c, traceScript, lane, args).Int64Slice()
	numbers := make([]int, len(chunks))
	for i, n := range reply {
		numbers[i] = int(n)
	}
	return numbers, err
}
