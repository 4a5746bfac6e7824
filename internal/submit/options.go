package submit

import (
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Task is what a submission needs to know of a task.
type Task interface {
	// Name is its wire name.
	Name() string
	// Codec is that of its arguments and values.
	Codec() tasks.Codec
	// Policy is what it says of its calls.
	Policy() call.Policy
}

// Decoder decodes the values of the task.
func Decoder[A, R any](t *tasks.Task[A, R]) results.Decoder[R] {
	return func(data []byte, dst []R) (map[int]error, error) { return tasks.DecodeEach(t, data, dst) }
}

// Options are those of one submission.
type Options struct {
	Queue     string
	ChunkSize int // 0: automatic
	TTL       time.Duration
	Policy    call.Policy
	Key       string // the name that the caller chose; "" for one that is drawn

	ExpiresIn time.Duration // 0: never
	Start     time.Time     // zero: at once
	Delayed   string        // the option that set Start
	Window    int           // of a stream; 0: automatic

	Origin await.Origin
}

// delay is how long the job waits before it may start.
func (o *Options) delay() time.Duration {
	if o.Start.IsZero() {
		return 0
	}
	return max(0, time.Until(o.Start))
}

// within is how soon the job must begin; 0 is no limit.
func (o *Options) within() time.Duration {
	if o.ExpiresIn == 0 {
		return 0
	}
	return o.delay() + o.ExpiresIn
}
