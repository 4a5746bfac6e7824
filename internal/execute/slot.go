package execute

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/tasks"
)

// contextsAtOnce is how many contexts of calls are one piece of memory.
const contextsAtOnce = 32

// callContext is the context of one call: its chunk's, with the call's description and its
// slot. The description is put together when it is asked for. A context may
// outlive its call, so each call has its own; but since some calls take less time than
// making one, those of a chunk are made by the dozen. A task that keeps one keeps 2 KiB.
type callContext struct {
	context.Context
	slot     callSlot
	attempts int // before this one
}

// contexts are those of calls to come.
type contexts []callContext

// next makes the context of call i.
func (cs *contexts) next(r *Run, i, attempts int) *callContext {
	if len(*cs) == 0 {
		*cs = make([]callContext, max(1, min(contextsAtOnce, r.calls-i)))
	}
	c := &(*cs)[0]
	*cs = (*cs)[1:]
	c.Context, c.attempts = r.ctx, attempts
	c.slot.run, c.slot.call = r, r.first+i
	return c
}

// Value returns the call's own values, and those of the chunk's context.
func (c *callContext) Value(key any) any {
	switch key.(type) {
	case call.InfoKey:
		return c.info()
	case nested.Key:
		return &c.slot
	}
	return c.Context.Value(key)
}

func (c *callContext) info() tasks.CallInfo {
	r := c.slot.run
	calls := r.chunk.Total
	if r.policy.Stream {
		calls = -1
	}
	return tasks.CallInfo{
		Task: r.chunk.Task, Job: r.chunk.Job, Call: c.slot.call, Calls: calls, Chunk: r.chunk.Number,
		Attempt: c.attempts + 1, Delivery: r.number, Worker: r.on.Worker, Queue: r.chunk.Queue,
	}
}

// callSlot is the slot as one call sees it: it implements nested.Slot.
type callSlot struct {
	run   *Run
	call  int          // its index in the job: streams have no end
	waits atomic.Int32 // that are open; most calls never wait, and end without the lock
	mu    sync.Mutex   // serializes what is done with the pass
}

// callEnded is a large negative value that is stored in waits when the call ends, so that waits
// which begin or end later never count as the first or the last one.
const callEnded = math.MinInt32 / 2

// Enter begins a wait.
func (s *callSlot) Enter(j nested.Job) (deadlock <-chan error, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.waits.Add(1); {
	case n < 0:
		return nil, func() {} // a goroutine that the call left behind: it holds nothing
	case n == 1:
		s.run.chunk.Pass.release(false)
	}
	deadlock, end := s.run.on.Waits.Begin(s.run, s.call, j)
	return deadlock, func() {
		end()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.waits.Load() == 1 {
			s.run.chunk.Pass.takeBack() // the call does not end before that
		}
		s.waits.Add(-1)
	}
}

// end is called when the call has ended, whatever it has left behind.
func (s *callSlot) end() {
	if s.waits.CompareAndSwap(0, callEnded) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits.Swap(callEnded) > 0 {
		s.run.on.Waits.EndAll(s.run)
		s.run.chunk.Pass.takeBack()
	}
}

// Pass is a chunk's right to run: beside others, or alone on the worker. While the chunk's
// call waits for other jobs the pass is given up, since their chunks may have to run here.
type Pass struct {
	lock sync.Locker // a side of Executor.alone

	mu      sync.Mutex // guards all below; not held while lock is waited for
	givenUp bool
	over    bool
}

// Share returns the pass of a chunk that runs beside others. It waits while a chunk runs
// alone.
func (e *Executor) Share() *Pass {
	e.alone.RLock()
	return &Pass{lock: e.alone.RLocker()}
}

// TryShare is Share without the wait: it returns nil instead.
func (e *Executor) TryShare() *Pass {
	if !e.alone.TryRLock() {
		return nil
	}
	return &Pass{lock: e.alone.RLocker()}
}

// Alone returns the pass of a chunk that no other may run beside. It waits for those that
// run.
func (e *Executor) Alone() *Pass {
	e.alone.Lock()
	return &Pass{lock: &e.alone}
}

// End gives the right up for good, whatever a call that was left behind still does.
func (p *Pass) End() { p.release(true) }

// release lets others run. Unless it is for good, it must not overlap with takeBack.
func (p *Pass) release(forGood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = p.over || forGood
	if !p.givenUp {
		p.givenUp = true
		p.lock.Unlock()
	}
}

// takeBack waits until the chunk may run again.
func (p *Pass) takeBack() {
	p.lock.Lock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		p.lock.Unlock()
		return
	}
	p.givenUp = false
}
