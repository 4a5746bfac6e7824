package producer

import (
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/tasks"
)

// Option changes one submission.
type Option func(*submit.Options) error

// Queue sends the job to the named queue instead of Config.Queue.
func Queue(name string) Option {
	return func(o *submit.Options) error {
		if err := names.CheckQueue(name); err != nil {
			return fmt.Errorf("producer.Queue: %w", err)
		}
		o.Queue = name
		return nil
	}
}

// ChunkSize is how many calls of a map travel together. 0, the default, is
// automatic: Python's rule, ceil(calls / (4 * slots)), with the slots of all
// live workers of the queue (of this machine's processors, while there are
// none), and less where the arguments of a chunk would encode to more than
// 1 MiB. A given size is kept exactly. Streams, whose length nobody knows, find
// their automatic size from how long the calls take: see IMap.
func ChunkSize(n int) Option {
	return func(o *submit.Options) error {
		if n < 0 {
			return fmt.Errorf("producer.ChunkSize(%d): the size of a chunk cannot be negative; use a positive number of calls, or 0 for automatic", n)
		}
		o.ChunkSize = n
		return nil
	}
}

// Window bounds how far a stream (IMap, IMapUnordered) runs ahead of the loop
// that takes its results: the calls whose arguments were read and whose outcomes
// have not been yielded, running and waiting ones together, are n at the most. 0,
// the default, is automatic: four chunks for each slot of the live workers of the
// queue. A small window bounds memory; one that holds fewer calls than there are
// slots leaves some of these idle. Chunks are never larger than the window.
// Other verbs ignore it.
func Window(n int) Option {
	return func(o *submit.Options) error {
		if n < 0 {
			return fmt.Errorf("producer.Window(%d): a window cannot be negative; use a positive number of calls, or 0 for automatic", n)
		}
		o.Window = n
		return nil
	}
}

// ResultTTL is how long Redis keeps the job once it is over, instead of
// Config.ResultTTL. A shorter time than 10 s is taken for 10 s: who waits must be able to
// fetch the value. d must be at least 1ms.
func ResultTTL(d time.Duration) Option {
	return func(o *submit.Options) error {
		if d < time.Millisecond || d > bounds.Longest {
			return fmt.Errorf("producer.ResultTTL(%v): results live for 1ms to 100 years; use a duration between", d)
		}
		o.TTL = d
		return nil
	}
}

// Retry lets the job's failing calls run again, up to n times, instead of what
// the task says: see tasks.Retry. Retry(0, tasks.Backoff{}) turns retries off.
func Retry(n int, b tasks.Backoff) Option {
	return func(o *submit.Options) error {
		p, err := tasks.RetryPolicy(n, b)
		if err != nil {
			return fmt.Errorf("producer.Retry: %w", err)
		}
		o.Policy.Retries, o.Policy.Backoff = p.Retries, p.Backoff
		return nil
	}
}

// ID makes key the job's name in its queue: 1 to 100 ASCII letters, digits and . _ -, but
// neither "." nor "..".
// The job's ID is QUEUE/key. As long
// as Redis has the job (see ResultTTL), submitting it again under the same key to the same
// queue, from this process or from any other, at once or later, is the same job: it
// runs once, and every submitter gets a handle on it. When it is over, however
// it ended, that handle is ready at once; Forget makes the key free again.
//
// The same job means the same task, codec and encoded arguments; under the key
// of another one a submission is refused with ErrIDTaken, which says what
// differs. All else is decided by the first submission: chunks, limits. The same key
// in another queue is another job.
//
// A submission that died half way, or failed because Redis could not be
// reached, is completed by the next one; what there is of it may run meanwhile,
// and goes with Config.JobTTL if nobody completes it.
//
// Apply, Map and Starmap keep such a job for Config.ResultTTL, as their Async
// forms do, and do not cancel it when their context ends: others may wait for it.
func ID(key string) Option {
	return func(o *submit.Options) error {
		if err := names.CheckJob(key); err != nil {
			return fmt.Errorf("producer.ID: %w", err)
		}
		o.Key = key
		return nil
	}
}

// CallTimeout ends the context of each of the job's calls that runs longer than
// d, instead of what the task says: see tasks.CallTimeout. A call that ignores
// its context and returns a value later has succeeded. A d longer than the HardTimeout,
// the job's or else the task's, is refused with the submission.
func CallTimeout(d time.Duration) Option {
	return func(o *submit.Options) error {
		o.Policy.CallTimeout = &d
		return checkLimit("CallTimeout", d)
	}
}

// HardTimeout gives up each of the job's calls that still runs after d, instead
// of what the task says, and has the worker started afresh: see
// tasks.HardTimeout.
func HardTimeout(d time.Duration) Option {
	return func(o *submit.Options) error {
		o.Policy.HardTimeout = &d
		return checkLimit("HardTimeout", d)
	}
}

func checkLimit(name string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("producer.%s(%v): use a positive duration, or leave the option out for what the task says", name, d)
	}
	return nil
}

// ExpiresIn cancels the job if none of its calls was started within d, counted
// from the submission or, with Delay or At, from the start: the handle becomes
// ready with results.ErrNotStarted, which matches results.ErrCanceled too, and
// nothing of the job runs. A job of which a call has started in time goes on for
// as long as it takes. d must be at least 1ms.
//
// No worker starts a job that is late; when none runs, the pools that have a
// handle on the job end it. Time is taken by the clock of Redis.
func ExpiresIn(d time.Duration) Option {
	return func(o *submit.Options) error {
		if d < time.Millisecond || d > bounds.Longest {
			return fmt.Errorf("producer.ExpiresIn(%v): use 1ms to 100 years, or leave the option out for a job that waits as long as it must", d)
		}
		o.ExpiresIn = d
		return nil
	}
}

// Delay starts the job after d and not before. 0 is at once. See At.
func Delay(d time.Duration) Option {
	return func(o *submit.Options) error {
		if d < 0 {
			return fmt.Errorf("producer.Delay(%v): a delay cannot be negative; use 0 or leave the option out to start at once", d)
		}
		return startAt(o, "Delay", time.Now().Add(d), d > 0)
	}
}

// At starts the job at t and not before; at once, if t is not ahead. The job can
// be waited for, attached to and canceled meanwhile, by everybody who has its ID;
// Config.JobTTL counts from t. Delay and At exclude each other.
//
// While the pool that submitted it is open, the job starts within milliseconds of
// t, where a slot is free. Without the pool, and for what is beyond the first
// thousand chunks, it is up to 6 seconds later: workers look for delayed work only
// so often. Not before holds as far as the clocks of producers and workers agree.
func At(t time.Time) Option {
	return func(o *submit.Options) error {
		if t.IsZero() {
			return fmt.Errorf("producer.At(%v): the zero time is no time to start; leave the option out to start at once", t)
		}
		return startAt(o, "At", t, time.Until(t) > 0)
	}
}

func startAt(o *submit.Options, option string, t time.Time, ahead bool) error {
	if time.Until(t) > bounds.Longest {
		return fmt.Errorf("producer.%s: %v is more than 100 years ahead; no job can wait for that", option, t)
	}
	if o.Delayed != "" && o.Delayed != option {
		return errors.New("producer.Delay and producer.At exclude each other: use one of them")
	}
	o.Delayed, o.Start = option, time.Time{}
	if ahead {
		o.Start = t
	}
	return nil
}

// blockingTTL is how long results of Apply, Map and Starmap stay: nobody but
// the caller, who takes them at once, knows the job's ID.
const blockingTTL = 10 * time.Minute

// leastTTL is how long results stay at least. A caller that waits polls each 2 s if it
// heard of nothing.
const leastTTL = 10 * time.Second

// options puts the options of a submission together. spent says that no process but the caller
// can want the record: it goes once the caller has the values.
func (p *Pool) options(opts []Option, blocking bool) (o *submit.Options, spent bool, err error) {
	o = &submit.Options{Queue: p.cfg.Queue, TTL: p.cfg.ResultTTL}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, false, err
		}
	}
	if o.TTL == 0 {
		o.TTL = DefaultResultTTL
		if blocking && o.Key == "" { // an ID that was chosen may be known to others
			o.TTL, spent = blockingTTL, true
		}
	}
	o.TTL = max(o.TTL, leastTTL)
	return o, spent, nil
}
