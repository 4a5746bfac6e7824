package queue

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
)

func one(lane string) Queue { return Queue{Name: lane, Weight: 1} }

func TestEveryDeliveryRunsOnceInASlot(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		names := named("j", 500)
		submit(t, rdb, "q", names[:250]...)
		w := serve(t, rdb, "w", 7, false, nil, one("q"))
		submit(t, rdb, "q", names[250:]...)
		eventually(t, "all jobs are done", func() bool { return len(w.names()) >= 500 && isDone(t, rdb, "q", "j499") && w.busy.Load() == 0 })
		ran := w.names()
		slices.Sort(ran)
		if n := len(slices.Compact(ran)); n != 500 || len(w.names()) != 500 {
			t.Errorf("%d runs of %d jobs, want 500 of each", len(w.names()), n)
		}
		if most := w.most; most > 7 {
			t.Errorf("%d ran at once in 7 slots", most)
		}
		for _, key := range []string{asynqfmt.PendingKey("q"), asynqfmt.ActiveKey("q"), asynqfmt.LeaseKey("q")} {
			if n := rdb.Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("%s is left", key)
			}
		}
	})
}

func TestAnIdleWorkerRunsACallAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		w := serve(t, rdb, "w", 2, false, nil, one("q"), one("r"), one("s"))
		for i, name := range named("j", 30) {
			eventually(t, "the worker listens", func() bool { return len(w.names()) == i && w.busy.Load() == 0 })
			submit(t, rdb, []string{"q", "r", "s"}[i%3], name)
		}
		eventually(t, "all calls have run", func() bool { return len(w.names()) == 30 })
	})
}

func TestOneDeliveryWakesOneWorker(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		held := make(chan struct{})
		var workers []*worker
		for _, id := range []string{"a", "b", "c"} {
			workers = append(workers, serve(t, rdb, id, 4, false, func(string) { <-held }, one("q")))
		}
		t.Cleanup(func() { close(held) })
		total := func() (n int) {
			for _, w := range workers {
				n += len(w.names())
			}
			return n
		}
		for i, name := range named("j", 12) {
			submit(t, rdb, "q", name)
			eventually(t, "the call runs", func() bool { return total() == i+1 })
		}
		if got := rdb.LLen(t.Context(), asynqfmt.ActiveKey("q")).Val(); got != 12 {
			t.Errorf("%d deliveries are active, want 12", got)
		}
	})
}

func TestAQueueOfLargerWeightComesFirstIfStrict(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, "low", named("low", 20)...)
		submit(t, rdb, "high", named("high", 20)...)
		w := serve(t, rdb, "w", 1, true, nil, Queue{"low", 1}, Queue{"high", 3})
		eventually(t, "all calls have run", func() bool { return len(w.names()) == 40 })
		for i, name := range w.names() {
			if high := strings.HasPrefix(name, "high"); high != (i < 20) {
				t.Fatalf("call %d was %s", i, name)
			}
		}
	})
}

func TestWeightsShareTheSlots(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, "low", named("low", 300)...)
		submit(t, rdb, "high", named("high", 300)...)
		w := serve(t, rdb, "w", 1, false, nil, Queue{"low", 1}, Queue{"high", 4})
		eventually(t, "all calls have run", func() bool { return len(w.names()) == 600 })
		high := 0
		for _, name := range w.names()[:200] {
			if strings.HasPrefix(name, "high") {
				high++
			}
		}
		if high < 120 || high > 190 { // 160 of 200 are expected, with a deviation of 6
			t.Errorf("%d of the first 200 calls are of the queue with 4 of 5 shares", high)
		}
	})
}

func TestAPausedQueueWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		w := serve(t, rdb, "w", 2, false, nil, one("q"), one("other"))
		rdb.Set(t.Context(), asynqfmt.PausedKey("q"), 1, 0)
		submit(t, rdb, "q", "a", "b")
		submit(t, rdb, "other", named("other", 20)...)
		eventually(t, "the other queue is served", func() bool { return len(w.names()) == 20 })
		eventually(t, "both deliveries are pending", func() bool { return rdb.LLen(t.Context(), asynqfmt.PendingKey("q")).Val() == 2 })
		if slices.Contains(w.names(), "a") {
			t.Fatal("a call of the paused queue ran")
		}
		rdb.Del(t.Context(), asynqfmt.PausedKey("q"))
		resumed := time.Now()
		eventually(t, "the queue is resumed", func() bool { return isDone(t, rdb, "q", "a") && isDone(t, rdb, "q", "b") })
		if took := time.Since(resumed); took > 5*time.Second {
			t.Errorf("the calls ran %v after the queue was resumed", took)
		}
	})
}

func TestAWorkerThatStopsLeavesNothingActive(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		w := serve(t, rdb, "w", 3, false, nil, one("q"), one("r"))
		submit(t, rdb, "q", named("q", 50)...)
		eventually(t, "calls run", func() bool { return len(w.names()) > 0 })
		began := time.Now()
		w.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the worker stopped after %v", took)
		}
		submit(t, rdb, "r", "late")
		if n := rdb.LLen(t.Context(), asynqfmt.ActiveKey("q")).Val() + rdb.LLen(t.Context(), asynqfmt.ActiveKey("r")).Val(); n != 0 {
			t.Errorf("%d deliveries are active", n)
		}
		second := serve(t, rdb, "second", 3, false, nil, one("q"), one("r"))
		eventually(t, "another worker runs the rest", func() bool { return len(w.names())+len(second.names()) == 51 })
	})
}

func TestLeasesAreRenewedWhileCallsRun(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		held := make(chan struct{})
		w := serve(t, rdb, "w", 1, false, func(string) { <-held }, one("q"))
		submit(t, rdb, "q", "j")
		eventually(t, "the call runs", func() bool { return w.busy.Load() == 1 })
		score := func() float64 { return rdb.ZScore(t.Context(), asynqfmt.LeaseKey("q"), "j:0:1").Val() }
		first := score()
		if left := first - float64(time.Now().Unix()); left < 20 || left > 31 {
			t.Errorf("the lease begins with %v s, want 30", left)
		}
		eventually(t, "the lease is renewed", func() bool { return score() > first })
		close(held)
	})
}

func TestADelayedDeliveryRunsWhenItIsDue(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		w := serve(t, rdb, "w", 1, false, nil, one("q"))
		d := job.Delivery{Ref: job.Ref{Name: "late"}, Number: 1}
		due := time.Now().Add(2 * time.Second).Truncate(time.Second)
		m := asynqfmt.Message{Type: "square", ID: d.TaskID(), Queue: "q"}
		late := job.New(
			job.Job{Ref: d.Ref, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute},
			[]job.Chunk{{Args: []byte("x"), TaskID: d.TaskID(), Message: m.Append(nil), Due: due}})
		if _, err := job.Submit(t.Context(), rdb, "q", []job.Submission{late}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the call runs", func() bool { return len(w.names()) == 1 })
		if early := time.Until(due); early > 0 {
			t.Errorf("it ran %v too early", early)
		}
	})
}

// TestAnIdleWorkerThatStopsLosesNoDelivery stops idle workers at the moment at which a call
// arrives: it runs, or it is in pending.
func TestAnIdleWorkerThatStopsLosesNoDelivery(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	for i, name := range named("j", 100) {
		w := serve(t, rdb, fmt.Sprintf("w%d", i), 1, false, nil, one("q"))
		eventually(t, "the worker listens", func() bool { return strings.Contains(rdb.ClientList(t.Context()).Val(), "cmd=blmove") })
		stopped := make(chan struct{})
		go func() {
			w.stop()
			close(stopped)
		}()
		submit(t, rdb, "q", name)
		<-stopped
		eventually(t, "the delivery is pending or done", func() bool {
			return rdb.LLen(t.Context(), asynqfmt.PendingKey("q")).Val() == 1 || isDone(t, rdb, "q", name)
		})
		if n := rdb.LLen(t.Context(), asynqfmt.ActiveKey("q")).Val(); n != 0 {
			t.Fatalf("round %d: %d deliveries are active with no worker", i, n)
		}
		rdb.FlushAll(t.Context())
	}
}

func TestLeasesAreRenewedDuringADrain(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		held := make(chan struct{})
		w := serve(t, rdb, "w", 1, false, func(string) { <-held }, one("q"))
		submit(t, rdb, "q", "j")
		eventually(t, "the call runs", func() bool { return w.busy.Load() == 1 })
		w.cancel()
		score := func() float64 { return rdb.ZScore(t.Context(), asynqfmt.LeaseKey("q"), "j:0:1").Val() }
		first := score()
		eventually(t, "the lease is renewed", func() bool { return score() > first })
		close(held)
	})
}

// cutAfter is a way to a Redis that loses the first reply with the text in it, and its connection.
func cutAfter(t *testing.T, addr, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var lost atomic.Bool
	serve := func(down net.Conn) {
		up, err := net.Dial("tcp", addr)
		if err != nil {
			_ = down.Close()
			return
		}
		go func() {
			_, _ = io.Copy(up, down)
			_ = up.Close()
		}()
		defer down.Close()
		defer up.Close()
		for reply := make([]byte, 1<<16); ; {
			n, err := up.Read(reply)
			if err != nil || bytes.Contains(reply[:n], []byte(text)) && !lost.Swap(true) {
				return
			}
			if _, err := down.Write(reply[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			go serve(down)
		}
	}()
	return l.Addr().String()
}

// The client must not ask again behind the Consumer's back: it would not know that deliveries are its own.
func TestDeliveriesOfALostReplyRunAtOnce(t *testing.T) {
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: cutAfter(t, server.Addr(), "\r\n"+string(job.Run)+"\r\n")})
	t.Cleanup(func() { _ = rdb.Close() })
	serve(t, rdb, "w", 1, false, nil, one("q"))
	direct := server.Client(t)
	begin := time.Now()
	submit(t, direct, "q", "j")
	eventually(t, "the call has run", func() bool { return isDone(t, direct, "q", "j") })
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the call ran after %v: supervision has found it", took)
	}
}
