package live

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

func TestStreamsAreBoundedAndEndWithTheFeed(t *testing.T) {
	render := func(context.Context, string) (string, time.Time, error) { return "x", time.Now(), nil }
	l := New(slog.New(slog.DiscardHandler), render, func(context.Context) error { return nil })
	var all []chan news
	for i := range maxStreams {
		updates, _, ok := l.watch(fmt.Sprint(i % 3))
		if !ok {
			t.Fatalf("stream %d is refused", i)
		}
		all = append(all, updates)
	}
	if _, _, ok := l.watch("0"); ok {
		t.Error("there is no limit")
	}
	l.Close()
	for _, updates := range all {
		for range updates { // it ends
		}
	}
	if _, _, ok := l.watch("0"); ok {
		t.Error("a closed feed takes streams")
	}
	l.Close()
}

func TestAPageIsReadOnceForAllThatWatchIt(t *testing.T) {
	renders := make(chan string)
	render := func(ctx context.Context, page string) (string, time.Time, error) {
		select {
		case renders <- page:
		case <-ctx.Done():
		}
		return page, time.Now(), nil
	}
	prepares := make(chan bool)
	prepare := func(ctx context.Context) error {
		select {
		case prepares <- true:
		case <-ctx.Done():
		}
		return nil
	}
	l := New(slog.New(slog.DiscardHandler), render, prepare)
	defer l.Close()
	one, leave, _ := l.watch("/jobs")
	two, leaveToo, _ := l.watch("/jobs")
	for range 2 { // rounds
		<-prepares
		if page := <-renders; page != "/jobs" {
			t.Errorf("%s is read", page)
		}
		for _, updates := range []chan news{one, two} {
			if n := <-updates; n.html != "/jobs" {
				t.Errorf("got %+v", n)
			}
		}
	}
	if l.Idle() {
		t.Error("it is idle while a page is watched")
	}
	leave()
	leaveToo()
	deadline := time.After(20 * time.Second)
	for !l.Idle() {
		select {
		case <-prepares: // a round that had begun
		case <-renders:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("it reads what is not watched any more")
		}
	}
}
