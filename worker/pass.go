package worker

import "sync"

// pass is a chunk's right to run: beside others, or alone on the worker. It is
// given up while the chunk's call waits for other jobs, since their chunks may
// have to run here.
type pass struct {
	lock sync.Locker // a side of worker.alone

	mu   sync.Mutex // guards all below; not held while lock is waited for
	held bool
	over bool
}

// heldPass makes the pass of a chunk that holds the lock.
func heldPass(lock sync.Locker) *pass { return &pass{lock: lock, held: true} }

// giveUp lets others run. It must not overlap with another giveUp or takeBack.
func (p *pass) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		p.held = false
		p.lock.Unlock()
	}
}

// takeBack waits until the chunk may run again.
func (p *pass) takeBack() {
	p.lock.Lock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		p.lock.Unlock()
		return
	}
	p.held = true
}

// end gives the right up for good, whatever a call that was left behind still
// does.
func (p *pass) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.held {
		p.held = false
		p.lock.Unlock()
	}
}
