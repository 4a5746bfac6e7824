package producer

import (
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/tasks"
)

// Option changes one submission.
type Option func(*options) error

type options struct {
	queue     string
	chunkSize int // 0: automatic
	ttl       time.Duration
	policy    call.Policy
}

// Queue sends the job to the named queue instead of Config.Queue.
func Queue(name string) Option {
	return func(o *options) error {
		if err := names.CheckQueue(name); err != nil {
			return fmt.Errorf("producer.Queue: %w", err)
		}
		o.queue = name
		return nil
	}
}

// ChunkSize is how many calls of a map travel together. 0, the default, is
// automatic: Python's rule, ceil(calls / (4 * slots)), with the slots of all
// live workers of the queue (of this machine's processors, while there are
// none), and less where the arguments of a chunk would encode to more than
// 1 MiB. A given size is kept exactly.
func ChunkSize(n int) Option {
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("producer.ChunkSize(%d): the size of a chunk cannot be negative; use a positive number of calls, or 0 for automatic", n)
		}
		o.chunkSize = n
		return nil
	}
}

// ResultTTL is how long Redis keeps the job once it is over, instead of
// Config.ResultTTL.
func ResultTTL(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Millisecond {
			return fmt.Errorf("producer.ResultTTL(%v): results must live for at least 1ms", d)
		}
		o.ttl = d
		return nil
	}
}

// Retry lets the job's failing calls run again, up to n times, instead of what
// the task says: see tasks.Retry. Retry(0, tasks.Backoff{}) turns retries off.
func Retry(n int, b tasks.Backoff) Option {
	return func(o *options) error {
		p, err := tasks.RetryPolicy(n, b)
		if err != nil {
			return fmt.Errorf("producer.Retry: %w", err)
		}
		o.policy.Retries, o.policy.Backoff = p.Retries, p.Backoff
		return nil
	}
}

// CallTimeout ends the context of each of the job's calls that runs longer than
// d, instead of what the task says: see tasks.CallTimeout.
func CallTimeout(d time.Duration) Option {
	return func(o *options) error {
		o.policy.CallTimeout = &d
		return checkLimit("CallTimeout", d)
	}
}

// HardTimeout gives up each of the job's calls that still runs after d, instead
// of what the task says, and has the worker started afresh: see
// tasks.HardTimeout.
func HardTimeout(d time.Duration) Option {
	return func(o *options) error {
		o.policy.HardTimeout = &d
		return checkLimit("HardTimeout", d)
	}
}

func checkLimit(name string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("producer.%s(%v): use a positive duration, or leave the option out for what the task says", name, d)
	}
	return nil
}

// blockingTTL is how long results of Apply, Map and Starmap stay: nobody but
// the caller, who takes them at once, knows the job's ID.
const blockingTTL = 10 * time.Minute

func (p *Pool) options(opts []Option, blocking bool) (options, error) {
	o := options{queue: p.cfg.Queue, ttl: p.cfg.ResultTTL}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return options{}, err
		}
	}
	if o.ttl == 0 {
		o.ttl = DefaultResultTTL
		if blocking {
			o.ttl = blockingTTL
		}
	}
	return o, nil
}
