package worker

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestADeliveryForOthersStaysAwayLongerEachTime(t *testing.T) {
	var b bounces
	for _, want := range []time.Duration{20000, 30000, 45000, 67500, 101250, 151875} {
		want *= time.Microsecond
		if wait, ours := b.next("a", 1); wait < want/2 || wait > want*3/2 || !ours {
			t.Errorf("it stays away for %v (brought back by us: %v), want %v, half as much more or less", wait, ours, want)
		}
	}
	for range 20 {
		if wait, _ := b.next("a", 1); wait > bounceLast*3/2 {
			t.Errorf("it stays away for %v, want no more than about %v", wait, bounceLast)
		}
	}
	if wait, ours := b.next("b", 1); wait > bounceFirst*3/2 || !ours {
		t.Errorf("another one stays away for %v (brought back by us: %v), want about %v", wait, ours, bounceFirst)
	}
}

func TestDeliveriesForOthersDoNotComeBackInStep(t *testing.T) {
	waits := map[time.Duration]bool{}
	for range 20 {
		var b bounces
		wait, _ := b.next("a", 1)
		waits[wait] = true
	}
	if len(waits) < 10 {
		t.Errorf("20 workers keep a delivery for %v", waits)
	}
}

func TestManyDeliveriesForOthersComeBackEvenly(t *testing.T) {
	for _, ignorant := range []int{1, 10} {
		var b bounces
		began, mine, last := time.Now(), 0, time.Duration(0)
		for i := range 2 * bouncesKnown {
			wait, ours := b.next(fmt.Sprint(i), ignorant)
			if ours {
				mine++
				last = max(last, wait)
			} else if wait != longestAway {
				t.Fatalf("asynq brings one back after %v, want %v", wait, longestAway)
			}
		}
		most := bouncesAtOnce + bouncesPerSecond/ignorant*int((longestAway+time.Since(began))/time.Second+1)
		if mine > most || mine < most/2 {
			t.Errorf("one of %d workers brings %d back, want up to %d", ignorant, mine, most)
		}
		if last > longestAway+bounceFirst || last < longestAway/2 {
			t.Errorf("the last of them comes after %v, want about %v", last, longestAway)
		}
		if n := len(b.waits); n > bouncesKnown {
			t.Errorf("%d are remembered, want %d at the most", n, bouncesKnown)
		}
	}
}

func TestAWorkerLetsOthersGoFirstUntilTheyHaveHeardTheRing(t *testing.T) {
	var b bounces
	b.pause() // for no reason: not at all
	waited := make(chan time.Time)
	var rung time.Time
	b.yield(func() {
		go func() {
			b.pause()
			waited <- time.Now()
		}()
		time.Sleep(2 * yieldFor) // as long as Redis may take
		rung = time.Now()
	})
	if after := (<-waited).Sub(rung); after < yieldFor {
		t.Errorf("it went on %v after the ring, want %v", after, yieldFor)
	}
	b.until.Store(time.Now().Add(time.Minute).UnixNano()) // that is too soon to do it again
	before := b.until.Load()
	b.yield(func() {})
	if b.until.Load() != before {
		t.Error("it lets others go first all the time")
	}
	b.until.Store(0)
	b.yield(func() { // Redis does not answer
		began := time.Now()
		b.pause()
		if took := time.Since(began); took < yieldMost/2 {
			t.Errorf("it lets others go first for %v, want up to %v", took, yieldMost)
		}
	})
}

// What it lets others go first for may take longer than it is to take things itself.
func TestAWorkerDoesNotLetOthersGoFirstAllTheTime(t *testing.T) {
	var b bounces
	end := time.Now().Add(time.Second)
	var all sync.WaitGroup
	all.Go(func() {
		for time.Now().Before(end) {
			all.Go(func() { b.yield(func() { time.Sleep(24 * time.Millisecond) }) })
			time.Sleep(2 * time.Millisecond)
		}
	})
	longest, times := time.Duration(0), 0
	for time.Now().Before(end) {
		began := time.Now()
		b.pause()
		if took := time.Since(began); took > time.Millisecond {
			longest, times = max(longest, took), times+1
		}
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	if times < 5 || longest > 4*yieldMost {
		t.Errorf("in a second it let others go first %d times, once for %v", times, longest)
	}
}

func TestThoseWhoKnowADeliveryAreWoken(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer func() { _ = rdb.Close() }()
	w := &worker{rdb: rdb}
	for _, c := range []struct{ knowing, ignorant, woken, rings int }{{1, 20, 1, 0}, {8, 20, 8, 0}, {9, 20, 8, 8}, {100, 1, 8, 2}} {
		rdb.FlushAll(t.Context())
		var b belief
		for i := range c.knowing {
			b.knowing = append(b.knowing, fmt.Sprint(i))
		}
		b.ignorant = c.ignorant
		for range 2 { // the second time finds those who have not listened
			w.wakeKnowing(t.Context(), "q", b)
		}
		woken := 0
		for _, id := range b.knowing {
			n := int(rdb.LLen(t.Context(), record.WakeKey(id)).Val())
			if n > 1 || n == 1 && rdb.TTL(t.Context(), record.WakeKey(id)).Val() <= 0 {
				t.Errorf("worker %s has %d wake-ups, or they stay for ever", id, n)
			}
			woken += n
		}
		if woken < c.woken || woken > 2*c.woken {
			t.Errorf("of %d who know it %d were woken", c.knowing, woken)
		}
		if n := int(rdb.LLen(t.Context(), record.BellKey("q")).Val()); n != 2*c.rings {
			t.Errorf("with %d who know it and %d who do not: %d rings for all, want %d", c.knowing, c.ignorant, n, 2*c.rings)
		}
	}
}

// asynq leaves what is less than a second out.
func TestAsynqDoesNotBringADeliveryBackBeforeItsTime(t *testing.T) {
	for _, wait := range []time.Duration{time.Nanosecond, 20 * time.Millisecond, time.Second, 5 * time.Second} {
		due := time.Now().Add(wait)
		at := time.Unix(time.Now().Add(retryDelay(0, later{"", wait}, nil)).Unix(), 0)
		if at.Before(due) || at.Sub(due) > 2*time.Second {
			t.Errorf("a delivery that is to wait for %v comes %v after that", wait, at.Sub(due))
		}
	}
	for _, err := range []error{later{"", 0}, errors.New("its worker died")} {
		if wait := retryDelay(0, err, nil); wait != 0 {
			t.Errorf("after %v it is to wait for %v, want not at all", err, wait)
		}
	}
}

func TestWhoKnowsATaskIsAskedOnceInAWhile(t *testing.T) {
	var b bounces
	asked := 0
	says := func(knowing int) func(stranger) ([]string, int, error) {
		return func(stranger) ([]string, int, error) { asked++; return make([]string, knowing), 3, nil }
	}
	task := stranger{"square", "q"}
	for range 2 { // that nobody knows it is no reason to believe it the next time
		if is, err := b.ask(task, says(0)); len(is.knowing) != 0 || err != nil {
			t.Errorf("of a task that nobody knows it says %+v, %v", is, err)
		}
	}
	if is, _ := b.ask(task, says(2)); len(is.knowing) != 2 || is.ignorant != 3 || asked != 3 {
		t.Errorf("it says %+v after %d questions", is, asked)
	}
	if is, _ := b.ask(task, says(0)); asked == 3 && len(is.knowing) != 2 {
		t.Errorf("without asking again it says %+v", is)
	}
	if _, _ = b.ask(stranger{"square", "other"}, says(0)); asked < 4 {
		t.Error("of another queue nobody was asked")
	}
	b.beliefs[task] = belief{knowing: make([]string, 2), until: time.Now()}
	if is, _ := b.ask(task, says(0)); len(is.knowing) != 0 {
		t.Error("the belief does not end")
	}
	if _, err := b.ask(stranger{"lost", "q"}, func(stranger) ([]string, int, error) { return nil, 0, errors.New("no answer") }); err == nil {
		t.Error("no error")
	}
}
