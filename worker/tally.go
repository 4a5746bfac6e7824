package worker

import (
	"context"
	"sync"
)

// tally counts what is under way. Unlike a sync.WaitGroup it may be waited for while
// something begins: asynq may start a handler while the worker ends without it.
type tally struct {
	mu   sync.Mutex // guards all below
	n    int
	none chan struct{} // closed when n becomes 0; nil while there is no wait
}

func (t *tally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
}

func (t *tally) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// run runs f in the background, and counts it meanwhile.
func (t *tally) run(f func()) {
	t.begin()
	go func() {
		defer t.end()
		f()
	}()
}

// wait waits until nothing is under way, or ctx ends.
func (t *tally) wait(ctx context.Context) {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}
