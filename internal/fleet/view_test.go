package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func TestAViewReadsTheRegistryOnceForAll(t *testing.T) {
	rdb := client(t, miniredis.RunT(t))
	for _, w := range []Worker{
		{ID: "a", Concurrency: 3, Queues: map[string]int{"q": 1}},
		{ID: "b", Concurrency: 4, Queues: map[string]int{"q": 1, "old": 1}},
	} {
		if err := Register(t.Context(), rdb, w, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	v := NewView(rdb)
	defer v.Stop()
	var sent counter
	rdb.AddHook(&sent)
	for queue, want := range map[string]struct {
		slots  int
		served bool
	}{"q": {7, true}, "old": {4, true}, "none": {0, false}} {
		slots, err := v.Slots(t.Context(), queue)
		served, serr := v.Serves(t.Context(), queue)
		if err != nil || serr != nil || slots != want.slots || served != want.served || v.Unserved(queue) == want.served {
			t.Errorf("queue %s: %d slots, served %t, %v, %v; want %+v", queue, slots, served, err, serr, want)
		}
	}
	if n := sent.n.Load(); n != 2 {
		t.Errorf("%d commands were sent, want those of one reading: 2", n)
	}
}

func TestAViewThatIsOldIsReadInTheBackground(t *testing.T) {
	rdb := client(t, miniredis.RunT(t))
	v := NewView(rdb)
	if v.Unserved("q") {
		t.Error("the queue counts as unserved before the registry was read")
	}
	for !v.Unserved("q") {
		time.Sleep(time.Millisecond) // until the reading in the background is over
	}
	v.Stop()
	v.known.Store(nil)
	if v.Unserved("q") || v.known.Load() != nil {
		t.Error("it is read again after Stop")
	}
}

func TestStoppingAViewWaitsForNoCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewView(nil)
		v.reading <- struct{}{} // as a caller whose Redis does not answer
		began := time.Now()
		if v.Stop(); time.Since(began) > maxAge {
			t.Errorf("Stop took %v", time.Since(began))
		}
	})
}
