package worker

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// onlyFull is a Redis of which one queue has deliveries.
type onlyFull struct {
	redis.UniversalClient
	queue string
}

func (s onlyFull) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if !isDequeue(keys) {
		return s.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	if cmd := redis.NewCmd(ctx); queueOf(keys[0]) == s.queue {
		cmd.SetVal("a delivery")
		return cmd
	}
	return nothing(ctx)
}

// Whoever is woken for one queue and takes from another may have no slot left for it. Another
// worker may listen to the one only.
func TestARingIsPassedOnByWhoTakesFromAnotherQueue(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer func() { _ = c.Close() }()
	d := newDoorbell(onlyFull{c, "a"}, "w", []string{"a", "b"})
	woken := func(by string) {
		t.Helper()
		c.Del(t.Context(), record.BellKey("a"), record.BellKey("b"))
		if err := record.Ring(by, 1).Run(t.Context(), c).Err(); err != nil {
			t.Fatal(err)
		}
		if !d.listen(t.Context()) || d.heard != by {
			t.Fatalf("a ring for %s was heard for %q", by, d.heard)
		}
	}
	wantRings := func(what string, want int64) {
		t.Helper()
		for _, q := range []string{"a", "b"} {
			if n := c.LLen(t.Context(), record.BellKey(q)).Val(); n != want*int64(q[0]-'a') {
				t.Errorf("%s: %d rings for queue %s", what, n, q)
			}
		}
	}
	woken("b")
	if err := ask(d, "a"); err != nil {
		t.Fatal(err)
	}
	wantRings("it was woken for b and took from a", 1)
	woken("a")
	if err := ask(d, "a"); err != nil {
		t.Fatal(err)
	}
	wantRings("it was woken for a and took from it", 0)
	woken("b")
	if err := ask(d, "b"); err != redis.Nil {
		t.Fatal(err)
	}
	if err := ask(d, "a"); err != nil {
		t.Fatal(err)
	}
	wantRings("it was woken for b, which is empty", 0)
	woken("b")
	d.close()
	if err := ask(d, "b"); err != redis.Nil {
		t.Fatal(err)
	}
	wantRings("it was woken for b and ends", 1)
}

func TestAWorkerThatListensCanListenLast(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer func() { _ = c.Close() }()
	d := newDoorbell(c, "w", []string{"q"})
	d.listenLast()
	if n := c.Exists(t.Context(), record.WakeKey("w")).Val(); n != 0 {
		t.Error("a worker that does not listen is woken")
	}
	began, rung := time.Now(), make(chan bool, 1)
	go func() { rung <- d.listen(t.Context()) }()
	for !d.listens.Load() {
		time.Sleep(time.Millisecond)
	}
	d.listenLast()
	if !<-rung || time.Since(began) > listenFor/2 {
		t.Errorf("it listened for %v", time.Since(began))
	}
}
