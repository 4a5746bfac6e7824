package record

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// refusal starts the reason of a job that was canceled because of its signature.
const refusal = string(Untrusted) + ": "

// Refuse ends a live job whose signature is missing or wrong. Whoever waits for it
// is told to read why.
func Refuse(ctx context.Context, c redis.Scripter, id, why string) (State, error) {
	s, err := Op{cancelScript, Keys(id), []any{refusal + why, Control, string(Untrusted)}}.Run(ctx, c).Text()
	return State(s), err
}

// ReadSignature reads what only a signature needs beside a snapshot, and the job's
// generation, to tell whether it is the same job.
func ReadSignature(ctx context.Context, c redis.Cmdable, id string) (sig, policy, gen string, err error) {
	reply, err := c.HMGet(ctx, Keys(id)[0], "sig", "policy", "gen").Result()
	if err != nil {
		return "", "", "", wrongType(err)
	}
	text := func(i int) string { s, _ := reply[i].(string); return s }
	return text(0), text(1), text(2), nil
}
