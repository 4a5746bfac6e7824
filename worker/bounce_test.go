package worker

import (
	"fmt"
	"testing"
	"time"
)

func TestADeliveryForOthersStaysAwayLongerEachTime(t *testing.T) {
	var b bounces
	for _, want := range []time.Duration{20, 40, 80, 160, 320, 640} {
		if wait, ours := b.next("a"); wait != want*time.Millisecond || !ours {
			t.Errorf("it stays away for %v (brought back by us: %v), want %d ms", wait, ours, want)
		}
	}
	for range 100 { // and never overflows
		if wait, ours := b.next("a"); wait != bounceLast || ours {
			t.Fatalf("in the end it stays away for %v (brought back by us: %v), want %v and asynq", wait, ours, bounceLast)
		}
	}
	if wait, ours := b.next("b"); wait != bounceFirst || !ours {
		t.Errorf("another one stays away for %v (brought back by us: %v), want %v", wait, ours, bounceFirst)
	}
}

func TestManyDeliveriesForOthersAreLeftToAsynq(t *testing.T) {
	var b bounces
	began, mine := time.Now(), 0
	for i := range 5 * bouncesKnown {
		if _, ours := b.next(fmt.Sprint(i)); ours {
			mine++
		}
	}
	if most := bouncesPerSecond * (2 + int(time.Since(began)/time.Second)); mine < bouncesPerSecond || mine > most {
		t.Errorf("%d are brought back by us, want %d to %d", mine, bouncesPerSecond, most)
	}
	if n := len(b.times); n > bouncesKnown {
		t.Errorf("%d are remembered, want %d at the most", n, bouncesKnown)
	}
}

func TestWhoKnowsATaskIsAskedOnceInAWhile(t *testing.T) {
	var b bounces
	asked := 0
	ask := func(is bool) func() (bool, error) {
		return func() (bool, error) { asked++; return is, nil }
	}
	task := elsewhere{"square", "q"}
	for range 2 { // that nobody knows it is no reason to believe it the next time
		if is, _ := b.known(task, ask(false)); is {
			t.Error("a task that nobody knows is known elsewhere")
		}
	}
	if is, _ := b.known(task, ask(true)); !is || asked != 3 {
		t.Errorf("known elsewhere: %v, after %d questions", is, asked)
	}
	began := time.Now()
	is, _ := b.known(task, ask(false))
	if again := asked > 3; !again && !is || again && time.Since(began) < elsewhereFor/2 {
		t.Errorf("a moment later it is known elsewhere: %v, after %d questions", is, asked)
	}
	if _, _ = b.known(elsewhere{"square", "other"}, ask(false)); asked < 4 {
		t.Error("of another queue nobody was asked")
	}
	b.elsewhere[task] = time.Now() // the time is over
	if is, _ := b.known(task, ask(false)); is {
		t.Error("the belief does not end")
	}
}
