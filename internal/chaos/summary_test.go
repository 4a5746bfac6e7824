package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/history"
)

func TestTheSummaryNamesTheJobThatRecoveredLast(t *testing.T) {
	at := time.Now()
	fault := func(kind, target string) history.Fault {
		return history.Fault{Kind: kind, Target: target, Start: at.UnixNano(), End: at.UnixNano()}
	}
	s := Summary{Report: history.Report{Recoveries: []history.Recovery{
		{Fault: fault("kill-worker", "w1.2"), Took: 3 * time.Second, Job: "QUICK", By: "p0.1"},
		{Fault: fault("archive", ""), Took: 7 * time.Second, Job: "SLOW", By: "p1.3", Again: 2},
		{Fault: fault("stop-redis", ""), Took: time.Second},
		{Fault: fault("kill-producer", "p0.1"), Took: time.Millisecond},
	}}}
	var out strings.Builder
	s.Print(&out)
	first := strings.Index(out.String(), "long recovery        7s after archive at "+at.Format("15:04:05.000")+": job SLOW, submitted by p1.3; hit again by later faults: 2\n")
	second := strings.Index(out.String(), "long recovery        3s after kill-worker of w1.2 at ")
	if first < 0 || second < first {
		t.Errorf("the summary does not name the longest recoveries, the longest one first:\n%s", &out)
	}
	if strings.Contains(out.String(), "kill-producer of") {
		t.Errorf("the summary names a recovery that took no time worth a look:\n%s", &out)
	}
}
