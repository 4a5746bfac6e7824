package queue

import (
	"cmp"
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/job"
)

const (
	// maxTaken bounds how many deliveries one script takes.
	maxTaken = 64
	// maxArgs bounds the bytes of arguments that one script takes.
	maxArgs = 1 << 20
	// patience is how long free slots wait for the answer of one lane. After that they are for
	// the others: the lane's server may be down.
	patience = 200 * time.Millisecond
	// strictPatience is that where the order of queues is strict.
	strictPatience = time.Second
	// maxBackoff bounds the time between two tries while Redis does not answer.
	maxBackoff = 2 * time.Second
)

// dispatch gives deliveries to free slots, until ctx ends. It holds the slots that are free
// while all lanes are empty, and what listeners hear is for these.
func (c *Consumer) dispatch(ctx context.Context) {
	for ctx.Err() == nil {
		runtime.Gosched() // short calls end now, and one request is for the slots of all
		c.held += c.more(maxTaken - c.held)
		if c.held == 0 || !slices.ContainsFunc(c.lanes, (*listener).ready) {
			c.await(ctx)
			continue
		}
		for _, l := range c.order() {
			if c.held > 0 && l.ready() && ctx.Err() == nil {
				c.take(l)
			}
		}
		for _, l := range c.lanes {
			if c.held == 0 && l.listening {
				l.disarm() // what it heard of would find no slot
			}
		}
	}
}

// await waits for something that changes what is to be done.
func (c *Consumer) await(ctx context.Context) {
	var free chan struct{}
	if c.held == 0 {
		free = c.free
	}
	var wake <-chan time.Time
	if left := c.rests(); left > 0 {
		t := time.NewTimer(left)
		defer t.Stop()
		wake = t.C
	}
	select {
	case <-free:
		c.held++
	case m := <-c.moved:
		l := m.from
		l.listening = l.armed.Load()
		switch {
		case m.id == "": // it cannot listen
		case c.held == 0, l.backoff == 0 && time.Now().Before(l.rest):
			c.putBack(l, m.id)
		default:
			l.heard = append(l.heard, m.id)
		}
	case a := <-c.late:
		a.from.away = false
		c.held -= c.accept(a, c.held)
	case more := <-c.grown:
		c.mu.Lock()
		c.lanes = append(c.lanes, more...)
		c.mu.Unlock()
		for _, l := range more {
			l.goroutine.Go(func() { l.listen(ctx) })
		}
	case y := <-c.yields:
		for _, l := range c.lanes {
			if l.lane == y.lane {
				l.rest = time.Now().Add(y.rest)
				l.disarm()
			}
		}
	case <-wake:
	case <-ctx.Done():
	}
}

// rests returns how long the lane still rests that ends its rest first; 0: none rests.
func (c *Consumer) rests() (shortest time.Duration) {
	for _, l := range c.lanes {
		if left := time.Until(l.rest); left > 0 && (shortest == 0 || left < shortest) {
			shortest = left
		}
	}
	return shortest
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

// order is the order in which lanes are asked: by weight if it is strict, otherwise by
// chance, and more often first the larger the weight is.
func (c *Consumer) order() []*listener {
	if len(c.lanes) == 1 {
		return c.lanes
	}
	lanes := slices.Clone(c.lanes)
	rand.Shuffle(len(lanes), func(i, j int) { lanes[i], lanes[j] = lanes[j], lanes[i] })
	if c.cfg.Strict {
		slices.SortStableFunc(lanes, func(a, b *listener) int { return cmp.Compare(b.queue.Weight, a.queue.Weight) })
		return lanes
	}
	// The lanes of a queue share its weight.
	of := map[string]int{}
	for _, l := range lanes {
		of[l.queue.Name]++
	}
	key := make(map[*listener]float64, len(lanes))
	for _, l := range lanes {
		key[l] = rand.ExpFloat64() * float64(of[l.queue.Name]) / float64(l.queue.Weight)
	}
	slices.SortFunc(lanes, func(a, b *listener) int { return cmp.Compare(key[a], key[b]) })
	return lanes
}

// answer is what became of a request for deliveries of a lane.
type answer struct {
	from  *listener
	most  int      // so many were asked for
	heard []string // those among them that were in active already
	taken []job.Taken
	sure  bool // no delivery of an earlier request can be the worker's without being known here
	err   error
}

// take takes deliveries off a lane for the slots that are held, and starts them. If the lane
// does not answer at once, the slots are for others, and the answer comes later.
func (c *Consumer) take(l *listener) {
	a := answer{from: l, most: c.held, heard: l.heard, sure: !l.unsure}
	l.heard = nil
	if len(a.heard) > a.most {
		a.heard, l.heard = a.heard[:a.most], a.heard[a.most:]
	}
	answered := make(chan answer, 1)
	c.asking.Add(1)
	c.crew.run(func() {
		c.ask(&a)
		answered <- a
	})
	wait := patience
	if c.cfg.Strict {
		wait = strictPatience
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case a := <-answered:
		c.held -= c.accept(a, c.held)
		c.asking.Done()
	case <-t.C:
		l.away = true
		go func() {
			defer c.asking.Done()
			c.late <- <-answered
		}()
	}
}

// ask asks for deliveries.
func (c *Consumer) ask(a *answer) {
	// Not with the context of Serve: what Redis gives is dealt with, also while the worker stops.
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	moved := a.heard
	if !a.sure {
		lost, err := c.lost(ctx, a.from.lane)
		if a.err = err; err != nil {
			return
		}
		if room := max(0, a.most-len(moved)); len(lost) > room {
			lost = lost[:room]
		} else {
			a.sure = true
		}
		moved = append(slices.Clone(moved), lost...)
	}
	a.taken, a.err = job.Take(ctx, c.cfg.Redis, a.from.lane, job.Taking{
		Worker: c.cfg.Worker, Most: max(0, a.most-len(moved)), Room: maxArgs, Moved: moved, Now: time.Now(), Budget: c.cfg.Budget, Waits: c.cfg.Waits,
	})
}

// accept starts the deliveries of an answer, up to n. It returns how many slots they have.
func (c *Consumer) accept(a answer, n int) (slots int) {
	l := a.from
	for _, t := range a.taken {
		switch t.Verdict {
		case job.Run, job.Alone:
			if slots < n {
				slots++
				c.start(l.lane, t)
				continue
			}
			c.refuse(l.lane, t)
		case job.Paused:
			l.paused.Store(true)
		default:
			c.refuse(l.lane, t)
		}
	}
	if a.err != nil {
		c.cfg.Logger.Debug("taking deliveries failed", "lane", l.lane, "error", a.err)
		l.unsure = true
		l.heard = append(l.heard, a.heard...)
		l.backoff = min(max(50*time.Millisecond, 2*l.backoff), maxBackoff)
		l.rest = time.Now().Add(l.backoff)
		return slots
	}
	l.backoff, l.unsure = 0, !a.sure
	if len(a.taken) < a.most && len(l.heard) == 0 && a.sure {
		l.arm() // it is empty
	}
	return slots
}

// lost lists deliveries that are this worker's by their jobs' records, and not known here: the
// answer that told of them was lost.
func (c *Consumer) lost(ctx context.Context, lane string) ([]string, error) {
	ids, err := job.Active(ctx, c.cfg.Redis, lane)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	ids = slices.DeleteFunc(ids, func(id string) bool {
		_, known := c.leased[lane][id]
		return known
	})
	c.mu.Unlock()
	var unknown []job.Delivery
	for _, id := range ids {
		if d, ok := job.ParseTaskID(id); ok {
			unknown = append(unknown, d)
		}
	}
	if len(unknown) == 0 {
		return nil, nil
	}
	stands, err := job.Stands(ctx, c.cfg.Redis, lane, unknown)
	if err != nil {
		return nil, err
	}
	var lost []string
	for i, s := range stands {
		if s.Waits && s.Owner == c.cfg.Worker {
			lost = append(lost, unknown[i].TaskID())
		}
	}
	return lost, nil
}
