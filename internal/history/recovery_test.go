package history

import (
	"testing"
	"time"
)

func TestRecoveryIsMeasuredOnWhatTheFaultHit(t *testing.T) {
	s := new(story).submitted(double).began("w0.1", "r0", 0).run("r1", 1)
	died := s.now
	s.fault(Fault{Kind: "kill-worker", Target: "w0.1", Silent: true, Start: int64(died), End: int64(died)})
	s.wait(5*time.Second).add("p0.1", Event{What: Accepted, Sub: "s", Job: "other"})
	s.now = died + 7*time.Second
	s.began("w1.1", "r2", 0)
	s.now = died + 8*time.Second - time.Millisecond
	s.ran("w1.1", "r2", value(0, "r2")).got("h", value(0, "r2"), value(1, "r1"))
	s.fault(Fault{Kind: "stop-redis", Silent: true, Start: int64(died), End: int64(died + time.Second)})

	got := map[string]time.Duration{}
	for _, r := range Check(s.events, Rules{}).Recoveries {
		got[r.Fault.Kind] = r.Took
	}
	if got["kill-worker"] != 8*time.Second {
		t.Errorf("the worker's call came to an outcome 8s after its death, but the recovery is %v", got["kill-worker"])
	}
	if want := 4*time.Second + 2*time.Millisecond; got["stop-redis"] != want {
		t.Errorf("the producer's first sign of life came %v after Redis was back, but the recovery is %v", want, got["stop-redis"])
	}
}
