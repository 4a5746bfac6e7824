package queue

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

const (
	// maxTaken bounds how many deliveries one script takes.
	maxTaken = 64
	// maxArgs bounds the bytes of arguments that one script takes.
	maxArgs = 1 << 20
)

// Queue is one queue that a Consumer serves.
type Queue struct {
	Lanes  []string
	Weight int // at least 1
}

// Config says what a Consumer does.
type Config struct {
	Redis  redis.UniversalClient
	Worker string // its ID in the records of jobs
	Slots  int    // how many deliveries run at once
	Queues []Queue
	Strict bool // queues of a smaller weight wait until all others are empty

	// Run runs one delivery, in a slot of its own until it returns.
	Run func(lane string, t job.Taken)
	// Refuse deals with a delivery that is not to be run: see its verdict. It has no slot.
	Refuse func(lane string, t job.Taken)

	Logger *slog.Logger
}

// Consumer takes deliveries off the lanes of its queues and runs them.
type Consumer struct {
	cfg   Config
	free  chan struct{} // one for each slot that is free
	lanes []*listener
	moved chan moved

	running sync.WaitGroup // Run and Refuse
	renewal context.CancelFunc
	renewed sync.WaitGroup // the renewal of leases

	mu     sync.Mutex
	leased map[string]map[string]struct{} // by lane: the task IDs of deliveries that run
}

// moved is a delivery that a listener has moved to active.
type moved struct {
	from *listener
	id   string
}

// NewConsumer returns a Consumer. Serve starts it.
func NewConsumer(cfg Config) *Consumer {
	c := &Consumer{cfg: cfg, free: make(chan struct{}, cfg.Slots), leased: map[string]map[string]struct{}{}}
	for range cfg.Slots {
		c.free <- struct{}{}
	}
	for _, q := range cfg.Queues {
		for _, lane := range q.Lanes {
			c.lanes = append(c.lanes, &listener{consumer: c, lane: lane, weight: float64(q.Weight) / float64(len(q.Lanes)), wake: make(chan struct{}, 1)})
		}
	}
	c.moved = make(chan moved, len(c.lanes))
	return c
}

// Serve takes and runs deliveries until ctx ends. Deliveries that run then go on: Wait waits
// for them.
func (c *Consumer) Serve(ctx context.Context) {
	var listening sync.WaitGroup
	for _, l := range c.lanes {
		listening.Go(func() { l.listen(ctx) })
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.renewal = stop
	c.renewed.Go(func() { c.renew(renewing) })
	listening.Go(func() { c.forward(ctx) })
	c.dispatch(ctx)
	ended := make(chan struct{})
	go func() {
		listening.Wait()
		close(ended)
	}()
	for {
		select {
		case m := <-c.moved:
			c.putBack(m)
		case <-ended:
			for len(c.moved) > 0 {
				c.putBack(<-c.moved)
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

// dispatch gives deliveries to free slots. It holds the slots that are free while all lanes
// are empty, and what listeners hear is for these.
func (c *Consumer) dispatch(ctx context.Context) {
	held := 0
	for {
		var heard []moved
		if held == 0 {
			select {
			case <-c.free:
				held++
			case m := <-c.moved:
				c.putBack(m) // every slot is busy; its lane is not listened to any more
				continue
			case <-ctx.Done():
				return
			}
		} else if c.allArmed() {
			select {
			case m := <-c.moved:
				heard = append(heard, m)
			case <-ctx.Done():
				for range held {
					c.free <- struct{}{}
				}
				return
			}
		}
		held += c.more(maxTaken - held)
		for _, l := range c.order() {
			if held == 0 {
				break
			}
			held -= c.take(ctx, l, held, heard)
			heard = slices.DeleteFunc(heard, func(m moved) bool { return m.from == l })
		}
		for _, m := range heard {
			c.putBack(m)
		}
		for _, l := range c.lanes {
			if held == 0 && l.listening {
				l.disarm() // what it heard of would find no slot
			}
		}
		if ctx.Err() != nil {
			for range held {
				c.free <- struct{}{}
			}
			return
		}
	}
}

// more takes slots that are free, up to n.
func (c *Consumer) more(n int) int {
	for i := range n {
		select {
		case <-c.free:
		default:
			return i
		}
	}
	return max(n, 0)
}

func (c *Consumer) allArmed() bool {
	return !slices.ContainsFunc(c.lanes, func(l *listener) bool { return !l.listening })
}

// order is the order in which lanes are asked: by weight if it is strict, otherwise by
// chance, and more often first the larger the weight is.
func (c *Consumer) order() []*listener {
	if len(c.lanes) == 1 {
		return c.lanes
	}
	lanes := slices.Clone(c.lanes)
	rand.Shuffle(len(lanes), func(i, j int) { lanes[i], lanes[j] = lanes[j], lanes[i] })
	if c.cfg.Strict {
		slices.SortStableFunc(lanes, func(a, b *listener) int { return cmp.Compare(b.weight, a.weight) })
		return lanes
	}
	key := make(map[*listener]float64, len(lanes))
	for _, l := range lanes {
		key[l] = rand.ExpFloat64() / l.weight
	}
	slices.SortFunc(lanes, func(a, b *listener) int { return cmp.Compare(key[a], key[b]) })
	return lanes
}

// take takes up to n deliveries off a lane, those that were heard among them, and starts
// them. It returns how many slots they have.
func (c *Consumer) take(ctx context.Context, l *listener, n int, heard []moved) int {
	var ids []string
	for _, m := range heard {
		if m.from == l {
			ids = append(ids, m.id)
			l.listening = false
		}
	}
	if l.listening {
		return 0 // it is empty
	}
	// Not with ctx: whatever Redis takes is dealt with, also while the worker stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	taken, err := job.Take(ctx, c.cfg.Redis, l.lane, job.Taking{
		Worker: c.cfg.Worker, Most: max(0, n-len(ids)), Room: maxArgs, Moved: ids, Now: time.Now(),
	})
	if err != nil {
		c.cfg.Logger.Debug("taking deliveries failed", "lane", l.lane, "error", err)
		for _, m := range heard {
			if m.from == l {
				c.putBack(m)
			}
		}
	}
	slots := 0
	for _, t := range taken {
		switch t.Verdict {
		case job.Run:
			slots++
			c.start(l.lane, t)
		case job.Paused:
			l.paused.Store(true)
		default:
			c.running.Go(func() { c.cfg.Refuse(l.lane, t) })
		}
	}
	if err != nil || len(taken) < n {
		l.arm() // it is empty; or Redis does not answer, for which the listener waits
	}
	return slots
}

// start runs a delivery in a slot.
func (c *Consumer) start(lane string, t job.Taken) {
	c.lease(lane, t.TaskID)
	c.running.Go(func() {
		defer func() {
			c.unlease(lane, t.TaskID)
			c.free <- struct{}{}
		}()
		c.cfg.Run(lane, t)
	})
}

// putBack gives a delivery back to its lane that has found no slot.
func (c *Consumer) putBack(m moved) {
	m.from.listening = m.from.armed.Load()
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	if err := job.PutBack(ctx, c.cfg.Redis, m.from.lane, m.id); err != nil {
		c.cfg.Logger.Warn("giving a delivery back failed; supervision finds it", "lane", m.from.lane, "delivery", m.id, "error", err)
	}
}
