package worker

import (
	"errors"
	"fmt"
	"testing"
	"time"
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

func TestWhoKnowsATaskIsAskedOnceInAWhile(t *testing.T) {
	var b bounces
	asked := 0
	says := func(knowing int) func() (int, int, error) {
		return func() (int, int, error) { asked++; return knowing, 3, nil }
	}
	task := stranger{"square", "q"}
	for range 2 { // that nobody knows it is no reason to believe it the next time
		if is, err := b.ask(task, says(0)); is.knowing != 0 || err != nil {
			t.Errorf("of a task that nobody knows it says %+v, %v", is, err)
		}
	}
	if is, _ := b.ask(task, says(2)); is.knowing != 2 || is.ignorant != 3 || asked != 3 {
		t.Errorf("it says %+v after %d questions", is, asked)
	}
	if is, _ := b.ask(task, says(0)); asked == 3 && is.knowing != 2 {
		t.Errorf("without asking again it says %+v", is)
	}
	if _, _ = b.ask(stranger{"square", "other"}, says(0)); asked < 4 {
		t.Error("of another queue nobody was asked")
	}
	b.beliefs[task] = belief{knowing: 2, until: time.Now()}
	if is, _ := b.ask(task, says(0)); is.knowing != 0 {
		t.Error("the belief does not end")
	}
	if _, err := b.ask(stranger{"lost", "q"}, func() (int, int, error) { return 0, 0, errors.New("no answer") }); err == nil {
		t.Error("no error")
	}
}
