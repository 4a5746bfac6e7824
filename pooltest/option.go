package pooltest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/distpool/distpool/internal/bounds"
)

// Option changes what Start and Open start.
type Option func(*options)

type options struct {
	workers     int // 0: 1
	concurrency int // 0: DefaultConcurrency, or 1 inline
	inline      bool
	redis       string
	queues      []string
	init        func(context.Context) (context.Context, error)
	logger      *slog.Logger
}

// DefaultConcurrency is the number of slots of a worker that no option sets. It
// does not depend on the machine, so that maps are cut into the same chunks
// wherever a test runs.
const DefaultConcurrency = 4

// mostWorkers is how many workers one process bears.
const mostWorkers = 1000

// Workers is how many workers run, up to 1000. Defaults to 1.
func Workers(n int) Option { return func(o *options) { o.workers = n } }

// Concurrency is how many slots each worker has: so many of its calls run at the
// same time. Defaults to DefaultConcurrency (4).
func Concurrency(n int) Option { return func(o *options) { o.concurrency = n } }

// Inline makes every submission wait until its job is over, on one worker with
// one slot: when it returns, its calls have run to the end, one after the other
// in the order of their arguments, and callbacks registered now run at once on
// the pool's goroutine. Handles, errors and the whole way through Redis are what
// they are otherwise; see the package's introduction for what that buys.
//
// A submission waits no longer than its context lasts; then it returns the
// handle on a job that goes on. A call that waits for something that the test
// does later therefore needs a context with an end, or a pool that is not inline.
// A submission from within a call is refused: the only slot is taken by the call
// that makes it.
func Inline() Option { return func(o *options) { o.inline = true } }

// Redis uses the Redis of this name (see producer.Config.Redis) instead of an
// embedded one. Pool and workers get a queue of their own there, so that tests
// at the same Redis do not disturb each other; its deliveries are removed at the
// end, and what jobs recorded goes with its time to live. Kit.Advance does not
// work on it. An empty name is no change.
func Redis(url string) Option { return func(o *options) { o.redis = url } }

// Queues are further queues that the workers serve, for code that submits with
// producer.Queue. All queues have the same weight.
func Queues(names ...string) Option {
	return func(o *options) { o.queues = append(o.queues, names...) }
}

// Init is what each worker runs before its first call, as worker.Config.Init:
// values of the context that it returns reach every call. When it fails, Start
// and Open do, with its error.
func Init(f func(ctx context.Context) (context.Context, error)) Option {
	return func(o *options) { o.init = f }
}

// Logger gets what pool and workers log. Defaults to the test's log, written
// when the test has failed, for Start; and to slog.Default() for Open.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

func newOptions(opts []Option) (options, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.workers < 0 || o.workers > mostWorkers {
		return o, fmt.Errorf("pooltest.Workers(%d): use 1 to %d workers", o.workers, mostWorkers)
	}
	if o.concurrency < 0 || o.concurrency > bounds.Slots {
		return o, fmt.Errorf("pooltest.Concurrency(%d): use 1 to %d slots", o.concurrency, bounds.Slots)
	}
	if o.inline && (o.workers > 1 || o.concurrency > 1) {
		return o, errors.New("pooltest: Inline runs one worker with one slot; leave Workers and Concurrency out")
	}
	if o.workers == 0 {
		o.workers = 1
	}
	switch {
	case o.inline:
		o.concurrency = 1
	case o.concurrency == 0:
		o.concurrency = DefaultConcurrency
	}
	return o, nil
}
