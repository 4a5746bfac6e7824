package job

import (
	"context"
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
	jobs, there := make([]*redis.SliceCmd, len(chunks)), make([][3]*redis.BoolCmd, len(chunks))
	p := c.Pipeline()
	for i, d := range chunks {
		key := Key(lane, d.Name)
		jobs[i] = p.HMGet(ctx, key, "about", "gen", "state", "own:"+strconv.Itoa(d.Chunk))
		for n, field := range []string{ArgsOf(d.Chunk), OutOf(d.Chunk), "consumed"} { // in the order in which they come
			there[i][n] = p.HExists(ctx, key, field)
		}
	}
	cmds, _ := p.Exec(ctx) // each of the commands has its error
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !IsDamaged(err) {
			return nil, err
		}
	}
	all := make([]Stand, len(chunks))
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
		args, out, consumed := there[i][0].Val(), there[i][1].Val(), there[i][2].Val()
		s.Owner, _, s.Number = ParseOwner(text(3))
		s.Waits = s.Owner != "" || args
		s.Lost = !s.Waits && !out && !consumed
	}
	return all, nil
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

// Active lists the deliveries of a lane that workers have taken, the oldest last.
func Active(ctx context.Context, c redis.Cmdable, lane string) ([]string, error) {
	return c.LRange(ctx, asynqfmt.ActiveKey(lane), 0, -1).Result()
}

// NextNumbers finds the numbers of the deliveries to issue for chunks that wait without an owner:
// behind those that are archived, or that are not in their list, which Redis may have lost
// (eviction). The number is 0 where a delivery is on its way. It looks from the given delivery of
// each chunk on. Of deliveries that may have left a long pending list it looks for the first one
// only; see trace.lua.
func NextNumbers(ctx context.Context, c redis.UniversalClient, lane string, chunks []Delivery) ([]int, error) {
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
