package e2e_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

func TestLostScriptsAreLoadedAgain(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		w := e.worker(t, 2)
		p := e.pool(t)
		flush := func() {
			t.Helper()
			if err := e.rdb.ScriptFlush(ctx(t)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			flush()
			n, err := producer.Apply(ctx(t), p, square, i)
			same(t, "Apply after SCRIPT FLUSH", n, err, i*i)
			flush()
			ns, err := producer.Map(ctx(t), p, size, severalTrips(), producer.ChunkSize(1))
			if err != nil || !slices.Equal(ns, slices.Repeat([]int{1 << 20}, 5)) {
				t.Errorf("Map after SCRIPT FLUSH: %d values, %v", len(ns), err)
			}
		}
		gate := e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
		if err != nil {
			t.Fatal(err)
		}
		m, err := producer.MapAsync(ctx(t), p, hold, slices.Repeat([]probe{gate}, 4), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 2)
		flush() // recorded without a script in the cache
		e.open(t, gate)
		if _, err := r.Get(ctx(t)); err != nil {
			t.Errorf("a call that ran during the flush: %v", err)
		}
		if _, err := m.Get(ctx(t)); err != nil {
			t.Errorf("a map that ran during the flush: %v", err)
		}
		flush()
		if err := m.Forget(ctx(t)); err != nil {
			t.Errorf("Forget after SCRIPT FLUSH: %v", err)
		}
		blocked := e.probe()
		c, err := producer.ApplyAsync(ctx(t), p, hold, blocked)
		if err != nil {
			t.Fatal(err)
		}
		flush()
		if err := c.Cancel(ctx(t)); err != nil {
			t.Errorf("Cancel after SCRIPT FLUSH: %v", err)
		}
		flush()
		if err := w.stop(t); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

func TestARedisThatCannotBeUsedIsAClearErrorInBoundedTime(t *testing.T) {
	usual(t)
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	old := miniredis.RunT(t)
	old.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd != "INFO" {
			return false
		}
		c.WriteBulk("# Server\r\nredis_version:6.0.16\r\nredis_mode:standalone\r\n")
		return true
	})
	guarded := redistest.Start(t, redistest.Password("right"))
	for _, c := range []struct {
		name, url string
		kind      error
		says      []string
	}{
		{"no Redis", "redis://" + closed, redisconn.ErrUnreachable, []string{closed}},
		{"no answer", "redis://" + deaf.Addr().String(), redisconn.ErrUnreachable, []string{deaf.Addr().String()}},
		{"wrong password", "redis://:wrong@" + guarded.Addr(), redisconn.ErrAuth, []string{guarded.Addr(), "password"}},
		{"no password", "redis://" + guarded.Addr(), redisconn.ErrAuth, []string{guarded.Addr(), "password"}},
		{"too old", "redis://" + old.Addr(), redisconn.ErrTooOld, []string{old.Addr(), "6.0.16", "6.2"}},
		{"no URL", "http://127.0.0.1", redisconn.ErrBadURL, []string{"http"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for who, open := range map[string]func() error{
				"producer.Open": func() error {
					_, err := producer.Open(context.Background(), producer.Config{Redis: c.url})
					return err
				},
				"worker.Run": func() error {
					return workerSpec{Redis: c.url, Queue: "q", Slots: 1}.run(context.Background(), &logBuffer{})
				},
			} {
				got := make(chan error, 1)
				begin := time.Now()
				go func() { got <- open() }()
				err := receive(t, who, got)
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("%s took %v to fail", who, took)
				}
				if !errors.Is(err, c.kind) {
					t.Errorf("%s: %v; want an error that is %q", who, err, c.kind)
				}
				mentions(t, err, c.says...)
			}
		})
	}
}
