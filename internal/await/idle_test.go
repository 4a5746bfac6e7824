package await

import (
	"runtime"
	"testing"
	"time"
	"weak"
)

// A pool that has nothing to wait for keeps nothing of what it has waited for.
func TestAnIdlePoolHoldsNoResultsThatWereDropped(t *testing.T) {
	h, _ := startHub(t)
	finish := func() weak.Pointer[Job] {
		j := submitJob(t, h, "j", h.Pool, 2)
		for chunk := range 2 {
			recordOut(t, h, "j", chunk, "[7]", 0) // the hub reads them
		}
		select {
		case <-j.Done():
		case <-time.After(soon):
			t.Fatal("the job is not over")
		}
		return weak.Make(j)
	}
	dropped := finish()
	for deadline := time.Now().Add(soon); dropped.Value() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a job that nobody has any more is still in memory")
		}
		runtime.GC() //revive:disable-line:call-to-gc what it finds is the test
	}
}
