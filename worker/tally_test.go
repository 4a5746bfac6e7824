package worker

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

// With the race detector: a delivery may come while the wait for the others ends.
func TestADeliveryMayBeginWhileTheWorkerWaits(t *testing.T) {
	var w worker
	for range 200 {
		var waiting sync.WaitGroup
		w.handlers.begin()
		waiting.Go(func() { w.handlers.wait(t.Context()) })
		runtime.Gosched()
		w.handlers.end()
		w.handlers.begin()
		w.handlers.end()
		waiting.Wait()
	}
	w.handlers.begin()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	w.handlers.wait(ended)
	waited := make(chan struct{})
	w.handlers.run(func() {
		w.handlers.end()
		w.handlers.wait(ended) // for itself, in vain
		close(waited)
	})
	<-waited
	w.handlers.wait(t.Context())
	if w.handlers.n != 0 {
		t.Errorf("%d are under way, want 0", w.handlers.n)
	}
}
