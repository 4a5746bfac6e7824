package job

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Check looks whether a job that is not over can still end, and cancels it if not: Redis has lost
// a part of it, or its record contradicts itself. chunks is how many it is known to have had, at
// least, and sealed says that it is known to have had all. Check returns the job's state after
// that.
func Check(ctx context.Context, c redis.UniversalClient, lane string, ref Ref, chunks int, sealed bool) (State, error) {
	s, err := Read(ctx, c, lane, ref.Name)
	switch {
	case IsDamaged(err):
		return condemn(ctx, c, lane, ref, Corrupt.Because(err.Error()))
	case err != nil:
		return "", err
	case s.State == Gone || s.Ref != ref:
		return Gone, nil
	case s.State.Ended():
		return s.State, nil
	case s.Chunks < chunks && s.State != Open:
		return condemn(ctx, c, lane, ref, Corrupt.Because(fmt.Sprintf("it has all its chunks, and there are %d of %d", s.Chunks, chunks)))
	case s.Chunks < chunks || sealed && s.State == Open:
		return condemn(ctx, c, lane, ref, Missing.Because("Redis has lost a part of what was submitted"))
	}
	return s.State, nil
}

func condemn(ctx context.Context, c redis.Scripter, lane string, ref Ref, reason string) (State, error) {
	states, err := Cancel(ctx, c, lane, reason, ref)
	if err != nil {
		return "", err
	}
	return states[0], nil
}
