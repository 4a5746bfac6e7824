package worker

import (
	"log/slog"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/fleet"
)

// A chunk of which nobody has heard for long may be fetched the moment before its owner is
// asked for it. The first thing that is heard of it then must not be that it is nobody's.
func TestAChunkThatIsOnItsWayToASlotIsNotReleased(t *testing.T) {
	free := 1
	_, rdb := fetching(t, 1, &free, onlyQ)
	w := newWorker(Config{Concurrency: 1, MaxResult: DefaultMaxResult, Queues: onlyQ, Logger: slog.New(slog.DiscardHandler)}, rdb, map[string]call.Task{})
	f := w.bell.fetcher
	ask := func() {
		w.answer(t.Context(), fleet.Question{Job: "q/j0"})
	}
	isOurs := func(when string) {
		t.Helper()
		if owner := ownerOf(t, rdb, "q/j0"); owner != w.self.ID {
			t.Errorf("the owner of the chunk is %q %s, want %s, which is about to run it", owner, when, w.self.ID)
		}
	}
	answered := make(chan struct{})
	rdb.AddHook(&onReply{func() {
		go func() {
			ask()
			close(answered)
		}()
		select {
		case <-answered:
		case <-time.After(100 * time.Millisecond): // it waits for the fetch
		}
	}})
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-answered
	isOurs("when its fetch was under way")
	ask()
	isOurs("when it was fetched")
	if _, a := f.ask("q"); a != handOut {
		t.Fatalf("the fetcher answers %v", a)
	}
	ask()
	isOurs("when it was handed out")
	if b := f.arrived("j0:0:1"); b == nil {
		t.Error("the handler has to begin the chunk again")
	}
	ask()
	isOurs("when the handler had it")
}

func TestAChunkWhoseDeliveryNeverArrivedIsReleased(t *testing.T) {
	free := 1
	_, rdb := fetching(t, 1, &free, onlyQ)
	w := newWorker(Config{Concurrency: 1, MaxResult: DefaultMaxResult, Queues: onlyQ, Logger: slog.New(slog.DiscardHandler)}, rdb, map[string]call.Task{})
	f := w.bell.fetcher
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, a := f.ask("q"); a != handOut {
		t.Fatalf("the fetcher answers %v", a)
	}
	f.mu.Lock()
	for c, h := range f.held {
		h.asked = h.asked.Add(-arriveFor)
		f.held[c] = h
	}
	f.mu.Unlock()
	w.answer(t.Context(), fleet.Question{Job: "q/j0"})
	if owner := ownerOf(t, rdb, "q/j0"); owner != "" {
		t.Errorf("the owner of the chunk is %q, although asynq dropped its delivery long ago", owner)
	}
}
