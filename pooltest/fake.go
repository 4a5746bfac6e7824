package pooltest

import (
	"context"

	"github.com/distpool/distpool/tasks"
)

// Fake makes a task that the workers of a test run in place of t: same name, same
// codec, the function of the test. It is for a producer that only declares its
// tasks, and for a test that must not run what the real task does. Submit by t
// as always.
func Fake[A, R any](t *tasks.Task[A, R], fn func(ctx context.Context, arg A) (R, error)) tasks.Runner {
	return tasks.Define(t.Name(), fn, tasks.WithCodec(t.Codec()))
}
