package operator_test

import (
	"os"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/redistest"
)

func TestCancelSaysWhatBecameOfEachJob(t *testing.T) {
	addr := clitest.Serve(t)
	running := clitest.Submitted(t, addr, "apply", "sleep", "3600")
	over := clitest.Submitted(t, addr, "apply", "square", "2")
	if got := clitest.Run(t, addr, "", "get", over); got.Code != console.ExitOK {
		t.Fatalf("%+v", got)
	}
	got := clitest.Run(t, addr, "", "cancel", running, "nobody", over, "--json")
	lines := clitest.Decode[struct{ Job, State, Error string }](t, got.Out)
	if got.Code != console.ExitNoResult || !strings.Contains(got.Err, "1 of 3 jobs") || len(lines) != 3 {
		t.Fatalf("got %+v", got)
	}
	if lines[0].State != "canceled" || lines[1].Error == "" || lines[1].State != "" || lines[2].State != "done" {
		t.Errorf("got %+v", lines)
	}
	if got := clitest.Run(t, addr, "", "get", running); got.Code != console.ExitNoResult || !strings.Contains(got.Err, "canceled") {
		t.Errorf("get: %+v", got)
	}
	if got := clitest.Run(t, addr, "", "cancel", running); got.Code != console.ExitOK || !strings.Contains(got.Out, "canceled") {
		t.Errorf("again: %+v", got)
	}
}

func TestWorkersAreListed(t *testing.T) {
	addr := clitest.Serve(t)
	type line struct {
		Worker  string
		PID     int
		Slots   int
		Queues  map[string]int
		Tasks   []string
		Version string
	}
	var workers []line
	clitest.Eventually(t, "the worker is listed", func() bool {
		got := clitest.Run(t, addr, "", "workers", "--json")
		if got.Code != console.ExitOK {
			t.Fatalf("%+v", got)
		}
		workers = clitest.Decode[line](t, got.Out)
		return len(workers) > 0
	})
	if w := workers[0]; len(workers) != 1 || w.PID != os.Getpid() || w.Slots != 4 || w.Queues["distpool"] == 0 || !strings.Contains(strings.Join(w.Tasks, " "), "square") {
		t.Errorf("got %+v", workers)
	}
	if got := clitest.Run(t, addr, "", "workers"); !strings.HasPrefix(got.Out, "WORKER ") || !strings.Contains(got.Out, workers[0].Worker) {
		t.Errorf("got %+v", got)
	}
}

func TestAPausedQueueWaitsUntilItIsResumed(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	id := clitest.Submitted(t, addr, "apply", "square", "12")
	type line struct {
		Queue            string
		Paused           bool
		Pending, Workers int
	}
	queue := func(args ...string) line {
		t.Helper()
		got := clitest.Run(t, addr, "", append(append([]string{"queues"}, args...), "--json")...)
		lines := clitest.Decode[line](t, got.Out)
		if got.Code != console.ExitOK || len(lines) != 1 || lines[0].Queue != "distpool" {
			t.Fatalf("%v: %+v", args, got)
		}
		return lines[0]
	}
	if q := queue(); q.Paused || q.Pending != 1 {
		t.Errorf("at first: %+v", q)
	}
	for range 2 { // twice is fine
		if q := queue("pause", "distpool"); !q.Paused {
			t.Errorf("paused: %+v", q)
		}
	}
	clitest.StartWorker(t, addr)
	clitest.Eventually(t, "the worker serves the queue", func() bool { return queue().Workers == 1 })
	if got := clitest.Run(t, addr, "", "get", id, "--timeout", "2s"); got.Code != console.ExitNoResult {
		t.Errorf("a paused queue delivers: %+v", got)
	}
	if got := clitest.Run(t, addr, "", "queues"); !strings.Contains(got.Out, "paused") {
		t.Errorf("%+v", got)
	}
	if q := queue("resume", "distpool"); q.Paused {
		t.Errorf("resumed: %+v", q)
	}
	if got := clitest.Run(t, addr, "", "get", id); got != clitest.OK("144\n") {
		t.Errorf("get: %+v", got)
	}
}

func TestWrongUseOfTheCommandsThatLookIsExitCode2(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for args, want := range map[string]string{
		"jobs --limit 0":       "--limit is 0",
		"jobs --status asleep": "scheduled, waiting, running",
		"jobs --queue {x}":     "--queue",
		"jobs more":            "more",
		"job":                  "arg",
		"cancel":               "arg",
		"workers x":            "x",
		"queues stop x":        "stop",
		"queues pause":         "arg",
		"queues pause {x}":     "{x}",
		"version x":            "x",
	} {
		got := clitest.Run(t, addr, "", strings.Fields(args)...)
		if got.Code != console.ExitUsage || got.Out != "" || !strings.Contains(got.Err, want) {
			t.Errorf("%s: got %+v, want exit code 2 and %q", args, got, want)
		}
	}
	if got := clitest.Run(t, addr, "", "queues", "pause", "unheard"); got.Code != console.ExitNoResult || !strings.Contains(got.Err, "distpool queues lists") {
		t.Errorf("unknown queue: %+v", got)
	}
}

func TestTheCommandsThatLookSayThatThereIsNoRedis(t *testing.T) {
	mr := miniredis.RunT(t)
	addr := mr.Addr()
	mr.Close()
	for _, args := range []string{"jobs", "job x", "cancel x", "workers", "queues", "queues pause x", "doctor"} {
		if got := clitest.Run(t, addr, "", strings.Fields(args)...); got.Code != console.ExitNoResult || !strings.Contains(got.Err, addr) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestEachCommandThatLooksHasHelpWithAnExample(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for _, args := range []string{"jobs", "job", "cancel", "workers", "queues", "queues pause", "queues resume", "doctor", "version"} {
		got := clitest.Run(t, addr, "", append(strings.Fields(args), "--help")...)
		if got.Code != console.ExitOK || !strings.Contains(got.Out, "Examples:\n  distpool "+args) || !strings.Contains(got.Out, "--json") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestLanesOfAClusterAreShownAndRaised(t *testing.T) {
	addr := redistest.ClusterURL(redistest.StartCluster(t, 3))
	clitest.StartWorker(t, addr)
	if got := clitest.Run(t, addr, "", "apply", "square", "3"); got.Code != console.ExitOK {
		t.Fatalf("%+v", got)
	}
	type line struct {
		Lane, Master string
		New          bool
	}
	show := func(words ...string) []line {
		t.Helper()
		got := clitest.Run(t, addr, "", append([]string{"queues", "lanes", "distpool", "--json"}, words...)...)
		if got.Code != console.ExitOK {
			t.Fatalf("%+v", got)
		}
		return clitest.Decode[line](t, got.Out)
	}
	lanes, masters := show(), map[string]bool{}
	for _, l := range lanes {
		masters[l.Master] = l.New
	}
	if len(lanes) != 3 || len(masters) != 3 || lanes[0].Lane != "distpool" || !lanes[0].New {
		t.Errorf("got %+v", lanes)
	}
	if got := show("6"); len(got) != 3 {
		t.Errorf("lanes are used before all know them: %+v", got)
	}
	if got := clitest.Run(t, addr, "", "queues", "lanes", "distpool", "100"); got.Code == console.ExitOK || !strings.Contains(got.Err, "use 1 to") {
		t.Errorf("got %+v", got)
	}
}

func TestAQueueHasOneLaneOutsideACluster(t *testing.T) {
	addr := clitest.Serve(t)
	if got := clitest.Run(t, addr, "", "queues", "lanes", "distpool"); got.Code != console.ExitOK || !strings.Contains(got.Out, "distpool  yes") {
		t.Errorf("got %+v", got)
	}
	if got := clitest.Run(t, addr, "", "queues", "lanes", "distpool", "2"); got.Code == console.ExitOK || !strings.Contains(got.Err, "no Cluster") {
		t.Errorf("got %+v", got)
	}
	if got := clitest.Run(t, addr, "", "queues", "lanes", "distpool", "two"); got.Code != console.ExitUsage || !strings.Contains(got.Err, `"two"`) {
		t.Errorf("got %+v", got)
	}
}
