package execute

import "sync"

// Pass is a chunk's right to run: beside others, or alone on the worker. While the chunk's
// call waits for other jobs the pass is given up, since their chunks may have to run here.
type Pass struct {
	lock sync.Locker // a side of Executor.alone

	mu   sync.Mutex // guards all below; not held while lock is waited for
	held bool
	over bool
}

// Share returns the pass of a chunk that runs beside others. It waits while a chunk runs
// alone.
func (e *Executor) Share() *Pass {
	e.alone.RLock()
	return heldPass(e.alone.RLocker())
}

// TryShare is Share without the wait: it returns nil instead.
func (e *Executor) TryShare() *Pass {
	if !e.alone.TryRLock() {
		return nil
	}
	return heldPass(e.alone.RLocker())
}

// Alone returns the pass of a chunk that no other may run beside. It waits for those that
// run.
func (e *Executor) Alone() *Pass {
	e.alone.Lock()
	return heldPass(&e.alone)
}

// heldPass makes the pass of a chunk that holds the lock.
func heldPass(lock sync.Locker) *Pass { return &Pass{lock: lock, held: true} }

// giveUp lets others run. It must not overlap with another giveUp or takeBack.
func (p *Pass) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		p.held = false
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
	p.held = true
}

// End gives the right up for good, whatever a call that was left behind still does.
func (p *Pass) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.held {
		p.held = false
		p.lock.Unlock()
	}
}
