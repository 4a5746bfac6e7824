package job

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// AnyGen stands for whatever generation a job has, where a person names it.
const AnyGen = "*"

// Cancel ends jobs of one lane that are not over, and tells their pools and the workers.
// reason is what a person or program gave, or that of State.Because. It
// answers the state of each after that: Canceled, Done (too late) or Gone.
func Cancel(ctx context.Context, c redis.UniversalClient, lane, reason string, jobs ...Ref) ([]State, error) {
	return end(ctx, c, lane, reason, "", jobs)
}

// Expire cancels jobs that had to begin before now, and leaves others alone. It answers the
// state of each after that.
func Expire(ctx context.Context, c redis.UniversalClient, lane string, jobs ...Ref) ([]State, error) {
	return end(ctx, c, lane, string(Unstarted), "late", jobs)
}

// Forget removes every trace of jobs of one lane but their deliveries, of which nothing is
// run any more. It answers the state that each was in.
func Forget(ctx context.Context, c redis.UniversalClient, lane string, jobs ...Ref) ([]State, error) {
	return end(ctx, c, lane, string(Forgotten), "forget", jobs)
}

func end(ctx context.Context, c redis.UniversalClient, lane, reason, how string, jobs []Ref) ([]State, error) {
	args := append(make([]any, 0, 2+4*len(jobs)), lane, publishBy(c))
	for _, j := range jobs {
		args = append(args, j.Name, j.Gen, reason, how)
	}
	return states(run(ctx, c, cancelScript, lane, args), lane, len(jobs))
}

// ManyChunks is how many chunks a job has at the most whose record goes with its key alone: see
// live.lua.
const ManyChunks = 10_000

// Remove removes the records of jobs that are over, of which nothing is left but these: no large
// frames, and at most ManyChunks.
func Remove(ctx context.Context, c redis.Cmdable, lane string, names ...string) error {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = Key(lane, name)
	}
	return c.Unlink(ctx, keys...).Err()
}

// states reads a reply of one state for each of n entries.
func states(cmd *redis.Cmd, lane string, n int) ([]State, error) {
	reply, err := cmd.StringSlice()
	if err != nil {
		return nil, err
	}
	if len(reply) != n {
		return nil, fmt.Errorf("a script in lane %s answered %d of %d entries", lane, len(reply), n)
	}
	all := make([]State, n)
	for i, s := range reply {
		all[i] = State(s)
	}
	return all, nil
}
