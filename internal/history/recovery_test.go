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

// The submitter of the job is killed, so nobody asks for its outcomes before the
// auditor does, minutes later.
func TestTheRecoveryOfAJobThatNobodyWaitsForEndsWhenTheJobIsOver(t *testing.T) {
	s := new(story).submitted(double)
	hit := s.now
	s.fault(Fault{Kind: "archive", Jobs: []string{"j"}, Start: int64(hit), End: int64(hit)})
	s.fault(Fault{Kind: "kill-producer", Target: "p0.1", Silent: true, Start: int64(s.now), End: int64(s.now)})
	s.wait(2 * time.Second).fault(Fault{Kind: "delete", Jobs: []string{"j"}, Start: int64(s.now), End: int64(s.now)})
	s.now = hit + 4*time.Second - 4*time.Millisecond
	s.run("r0", 0).run("r1", 1)
	over := s.now
	s.wait(15*time.Minute).add("driver", Event{
		What: Audited, Job: "j", Outs: []Outcome{value(0, "r0"), value(1, "r1")}, Finished: int64(over),
	})

	for _, r := range Check(s.events, Rules{}).Recoveries {
		switch r.Fault.Kind {
		case "archive":
			if r.Took != 4*time.Second || r.Job != "j" || r.By != "p0.1" || r.Again != 1 {
				t.Errorf("job j of p0.1 was over 4s after its delivery was archived, and hit once more meanwhile; the recovery is %+v", r)
			}
		case "delete":
			if r.Took >= 2*time.Second || r.Again != 0 {
				t.Errorf("job j was over less than 2s after its delivery was deleted; the recovery is %+v", r)
			}
		}
	}
}

func TestARecoveryThatOnlyTheAuditorEndsIsNotHidden(t *testing.T) {
	s := new(story).submitted(double)
	hit := s.now
	s.fault(Fault{Kind: "archive", Jobs: []string{"j"}, Start: int64(hit), End: int64(hit)})
	s.wait(time.Minute).run("r0", 0).run("r1", 1)
	s.add("driver", Event{What: Audited, Job: "j", Outs: []Outcome{value(0, "r0"), value(1, "r1")}})
	rs := Check(s.events, Rules{}).Recoveries
	if len(rs) != 1 || rs[0].Took < time.Minute {
		t.Errorf("the job was over a minute after the fault, but the recoveries are %+v", rs)
	}
}
