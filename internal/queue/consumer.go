package queue

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// Queue is one queue that a Consumer serves.
type Queue struct {
	Name   string
	Weight int // at least 1
}

// Config says what a Consumer does.
type Config struct {
	Redis redis.UniversalClient
	// Listen is for requests that wait: one for each lane, each of which holds a connection.
	Listen redis.UniversalClient
	Worker string // its ID in the records of jobs
	Slots  int    // how many deliveries run at once; 0: it takes none, and those of Begin run
	Queues []Queue
	Strict bool // queues of a smaller weight wait until all others are empty
	// Lanes returns the lanes of a queue, of which there may be more each time.
	Lanes  func(ctx context.Context, queue string) ([]string, error)
	Budget int  // see job.Taking
	Waits  bool // see job.Taking

	// Run runs one delivery, of verdict Run or Alone, in a slot of its own until it returns.
	// It has over called once the delivery has been dealt with, which may be later. Until then
	// the lease is renewed, and Wait waits.
	Run func(lane string, t job.Taken, over func())
	// Refuse deals with a delivery that gets no slot. Its verdict says why; Run: no slot is
	// free for it, and it is to be given back.
	Refuse func(lane string, t job.Taken)

	Logger *slog.Logger
}

// Consumer takes deliveries off the lanes of its queues and runs them.
type Consumer struct {
	cfg  Config
	free chan struct{} // one for each slot that is free

	// What dispatch hears.
	moved  chan moved
	late   chan answer
	grown  chan []*listener
	yields chan yield
	ended  chan struct{} // closed: dispatch hears nothing any more

	held  int            // slots that dispatch holds: it has not given them to a delivery yet
	slots int            // that have a goroutine
	work  chan *delivery // for these goroutines

	running sync.WaitGroup // Run until over, and Refuse
	asking  sync.WaitGroup // requests for deliveries
	crew    crew           // asks
	renewal context.CancelFunc
	renewed sync.WaitGroup // the renewal of leases

	mu     sync.Mutex                     // guards all below
	lanes  []*listener                    // dispatch writes it, and reads it without the lock
	leased map[string]map[string]struct{} // by lane: the task IDs of deliveries that are dealt with
	served bool                           // Serve has returned: Wait may wait
}

// moved is a delivery that a listener has moved to active; id is empty if it cannot listen,
// and the lane is to be asked.
type moved struct {
	from *listener
	id   string
}

// yield has a lane rest for a while.
type yield struct {
	lane string
	rest time.Duration
}

// NewConsumer returns a Consumer. Serve starts it.
func NewConsumer(cfg Config) *Consumer {
	c := &Consumer{
		cfg: cfg, free: make(chan struct{}, cfg.Slots), work: make(chan *delivery, cfg.Slots), leased: map[string]map[string]struct{}{},
		moved: make(chan moved), late: make(chan answer), grown: make(chan []*listener), yields: make(chan yield), ended: make(chan struct{}),
	}
	for range cfg.Slots {
		c.free <- struct{}{}
	}
	return c
}

// Serve takes and runs deliveries until ctx ends. Deliveries that run then go on: Wait waits
// for them.
func (c *Consumer) Serve(ctx context.Context) {
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.renewal = stop
	c.renewed.Go(func() { every(renewing, renewEvery, func() { c.renew(renewing) }) })
	var others sync.WaitGroup
	others.Go(func() { every(ctx, forwardEvery, func() { c.forward(ctx) }) })
	others.Go(func() { c.grow(ctx) })
	c.dispatch(ctx)
	close(c.work)
	for range c.held {
		c.free <- struct{}{}
	}
	over := make(chan struct{})
	go func() {
		others.Wait()
		for _, l := range c.lanes {
			l.goroutine.Wait()
		}
		c.asking.Wait()
		close(over)
	}()
	c.hush(over)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served = true
}

// hush gives back what comes in after the end of dispatch.
func (c *Consumer) hush(over <-chan struct{}) {
	defer close(c.ended)
	for {
		select {
		case m := <-c.moved:
			if m.id != "" {
				m.from.heard = append(m.from.heard, m.id)
			}
		case a := <-c.late:
			c.accept(a, 0)
		case <-c.grown: // they do not listen yet
		case <-c.yields:
		case <-over:
			for _, l := range c.lanes {
				for _, id := range l.heard {
					c.putBack(l, id)
				}
			}
			return
		}
	}
}

// Wait waits until no delivery runs; until then their leases are renewed. Serve must have
// returned.
func (c *Consumer) Wait() {
	c.running.Wait()
	c.renewal()
	c.renewed.Wait()
}

// Lanes are the lanes that are known so far.
func (c *Consumer) Lanes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, len(c.lanes))
	for i, l := range c.lanes {
		names[i] = l.lane
	}
	return names
}

// Yield lets other workers go first: no delivery of the lane is taken for a while.
func (c *Consumer) Yield(lane string, rest time.Duration) {
	select {
	case c.yields <- yield{lane, rest}:
	case <-c.ended:
	}
}

// delivery is one that is dealt with.
type delivery struct {
	consumer *Consumer
	lane, id string
	taken    job.Taken
	isOver   atomic.Bool
}

// over says that the delivery has been dealt with.
func (d *delivery) over() {
	if !d.isOver.Swap(true) {
		d.consumer.unlease(d.lane, d.id)
		d.consumer.running.Done()
	}
}

// Begin notes a delivery that is dealt with until over is called: its lease is renewed, and Wait
// waits. After Serve it reports false, and notes nothing.
func (c *Consumer) Begin(lane, id string) (over func(), ok bool) {
	d := &delivery{consumer: c, lane: lane, id: id}
	return d.over, c.begin(d)
}

func (c *Consumer) begin(d *delivery) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.served {
		return false
	}
	c.lease(d.lane, d.id)
	c.running.Add(1)
	return true
}

// start runs a delivery in a slot.
func (c *Consumer) start(lane string, t job.Taken) {
	d := &delivery{consumer: c, lane: lane, id: t.TaskID, taken: t}
	c.begin(d)
	c.work <- d // there is room: no more run than there are slots
	if c.slots < c.cfg.Slots {
		c.slots++
		go c.slot()
	}
}

// slot runs deliveries, one after the other. A new goroutine for each would have to grow its stack
// each time, which is a tenth of what a short call costs a worker.
func (c *Consumer) slot() {
	for d := range c.work {
		c.cfg.Run(d.lane, d.taken, d.over)
		c.free <- struct{}{}
	}
}

// refuse deals with a delivery that gets no slot.
func (c *Consumer) refuse(lane string, t job.Taken) {
	over, _ := c.Begin(lane, t.TaskID)
	go func() {
		defer over()
		c.cfg.Refuse(lane, t)
	}()
}

// putBack gives a delivery back to its lane that has found no slot.
func (c *Consumer) putBack(l *listener, id string) {
	c.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), sendTime)
		defer cancel()
		if err := job.PutBack(ctx, c.cfg.Redis, l.lane, id); err != nil {
			c.cfg.Logger.Warn("giving a delivery back failed; supervision finds it", "lane", l.lane, "delivery", id, "error", err)
		}
	})
}
