package load

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/producer"
)

const (
	// loaders is how many goroutines of a producer submit.
	loaders = 6
	// pause is the mean time that a goroutine waits between two submissions: it makes
	// some 150 calls a second of each producer, which leaves two cores room for faults.
	pause = 600 * time.Millisecond
	// submitLimit bounds a submission, so that a Redis that does not answer does not
	// hold the load up.
	submitLimit = 8 * time.Second
	// outstanding is how many jobs a producer waits for at the same time.
	outstanding = 300
	// keep is how long records must stay: longer than any run.
	keep = 24 * time.Hour
)

// load is a producer process at work.
type load struct {
	spec    Spec
	h       *history.Writer
	pool    *producer.Pool
	log     *slog.Logger
	others  *Feed
	n       atomic.Int64 // submissions and handles so far
	waiting sync.WaitGroup
	room    chan struct{} // a token for each job that is waited for in the background

	until context.Context // waits end with it
}

// produce is a producer process: it submits until ctx ends, and then waits for
// what it has submitted.
func produce(ctx context.Context, s Spec, h *history.Writer, log *slog.Logger) error {
	pool, err := openPool(ctx, s.Redis, log)
	if err != nil || pool == nil {
		return err
	}
	defer pool.Release()
	until, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := &load{spec: s, h: h, pool: pool, log: log, others: NewFeed(s.Dir, s.Process), room: make(chan struct{}, outstanding), until: until}
	var loops sync.WaitGroup
	for i := range loaders {
		rng := rand.New(rand.NewPCG(s.Seed, uint64(s.Number)<<16|uint64(i)<<8|uint64(s.Process[1])))
		loops.Go(func() { l.loop(ctx, rng) })
	}
	<-ctx.Done()
	time.AfterFunc(s.Drain, cancel)
	loops.Wait()
	l.waiting.Wait()
	return nil
}

// openPool opens a pool as soon as Redis lets it; nil when ctx ends before.
func openPool(ctx context.Context, url string, log *slog.Logger) (*producer.Pool, error) {
	for {
		p, err := producer.Open(ctx, producer.Config{Redis: url, Queue: Queue, ResultTTL: keep, Logger: log})
		if err == nil {
			return p, nil
		}
		log.Warn("the pool cannot be opened yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, nil //revive:disable-line:nil-nil it is told to end before it began
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// loop submits one after the other.
func (l *load) loop(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		kind := l.spec.Load[rng.IntN(len(l.spec.Load))]
		loads[kind](l, ctx, rng)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(float64(pause) * (0.5 + rng.Float64()))):
		}
	}
}

func (l *load) name() string { return fmt.Sprintf("%s-%d", l.spec.Process, l.n.Add(1)) }

// submit submits and writes that down. sub and id are empty unless the ID is
// chosen. It returns nil when the submission was refused.
func (l *load) submit(plan history.Plan, sub, id string, send func(ctx context.Context, sub string) (handle, error)) (h handle, name string) {
	if sub == "" {
		sub = l.name()
	}
	l.h.Write(history.Event{What: history.Submit, Sub: sub, Job: id, Plan: &plan})
	ctx, cancel := context.WithTimeout(context.Background(), submitLimit)
	defer cancel()
	h, err := send(ctx, sub)
	if err != nil {
		l.h.Write(history.Event{What: history.Refused, Sub: sub, Err: classify(err), Text: err.Error()})
		return nil, ""
	}
	name = l.name()
	l.h.Write(history.Event{What: history.Accepted, Sub: sub, Job: h.ID(), Handle: name, Plan: &plan})
	return h, name
}

// await waits for the handle's answer: for a moment here, then in the background.
func (l *load) await(h handle, name string, again bool) {
	if h == nil {
		return
	}
	soon, cancel := context.WithTimeout(l.until, time.Second)
	defer cancel()
	if l.answer(soon, h, name) {
		if again {
			l.answer(l.until, h, name)
		}
		return
	}
	l.room <- struct{}{}
	l.waiting.Go(func() {
		defer func() { <-l.room }()
		if !l.answer(l.until, h, name) {
			l.h.Write(history.Event{What: history.GaveUp, Handle: name})
		}
	})
}

// answer gets the answer and writes it down; false when there is none in time.
func (l *load) answer(ctx context.Context, h handle, name string) bool {
	vs, err := h.get(ctx)
	outs, class, text := outcomes(vs, err)
	if class == history.ErrTimeout {
		return false
	}
	l.h.Write(history.Event{What: history.Got, Handle: name, Outs: outs, Err: class, Text: text})
	return true
}
