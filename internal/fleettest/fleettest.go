// Package fleettest has what tests share that look at a fleet from outside: both
// kinds of Redis, and a pool with a worker on one.
package fleettest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// Patience is how long a test waits for what must happen.
const Patience = 2 * time.Minute

// OnBoth runs f on miniredis and on a real redis-server.
func OnBoth(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { _ = rdb.Close() })
		f(t, rdb)
	})
	t.Run("redis", func(t *testing.T) { f(t, redistest.Start(t).Client(t)) })
}

// Eventually waits until f holds, and fails the test after Patience.
func Eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s", Patience, what)
		}
	}
}

// Start runs a worker of two slots with these tasks, and returns a pool; both are in
// this process, on the default queue, and end with the test.
func Start(t *testing.T, rdb redis.UniversalClient, ts ...tasks.Runner) *producer.Pool {
	t.Helper()
	silent := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- worker.Run(ctx, worker.Config{Client: rdb, Concurrency: 2, Grace: time.Second, Name: "host", Logger: silent}, ts...)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-over; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the worker ended with %v", err)
		}
	})
	p, err := producer.Open(t.Context(), producer.Config{Client: rdb, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := p.Terminate(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}
