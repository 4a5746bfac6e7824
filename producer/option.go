package producer

import (
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/names"
)

// Option changes one submission.
type Option func(*options) error

type options struct {
	queue     string
	chunkSize int // 0: automatic
	ttl       time.Duration
	window    int // of a stream; 0: automatic
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
// 1 MiB. A given size is kept exactly. Streams, whose length nobody knows, find
// their automatic size from how long the calls take: see IMap.
func ChunkSize(n int) Option {
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("producer.ChunkSize(%d): the size of a chunk cannot be negative; use a positive number of calls, or 0 for automatic", n)
		}
		o.chunkSize = n
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
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("producer.Window(%d): a window cannot be negative; use a positive number of calls, or 0 for automatic", n)
		}
		o.window = n
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
