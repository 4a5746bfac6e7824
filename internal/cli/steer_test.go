package cli_test

import (
	"os"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/redistest"
)

func TestCancelSaysWhatBecameOfEachJob(t *testing.T) {
	addr := serve(t)
	running := submitted(t, addr, "apply", "sleep", "3600")
	over := submitted(t, addr, "apply", "square", "2")
	if got := program(bounded(t), addr, "", "get", over); got.code != cli.ExitOK {
		t.Fatalf("%+v", got)
	}
	got := program(bounded(t), addr, "", "cancel", running, "nobody", over, "--json")
	lines := decode[struct{ Job, State, Error string }](t, got.out)
	if got.code != cli.ExitNoResult || !strings.Contains(got.err, "1 of 3 jobs") || len(lines) != 3 {
		t.Fatalf("got %+v", got)
	}
	if lines[0].State != "canceled" || lines[1].Error == "" || lines[1].State != "" || lines[2].State != "done" {
		t.Errorf("got %+v", lines)
	}
	if got := program(bounded(t), addr, "", "get", running); got.code != cli.ExitNoResult || !strings.Contains(got.err, "canceled") {
		t.Errorf("get: %+v", got)
	}
	if got := program(bounded(t), addr, "", "cancel", running); got.code != cli.ExitOK || !strings.Contains(got.out, "canceled") {
		t.Errorf("again: %+v", got)
	}
}

func TestWorkersAreListed(t *testing.T) {
	addr := serve(t)
	type line struct {
		Worker  string
		PID     int
		Slots   int
		Queues  map[string]int
		Tasks   []string
		Version string
	}
	var workers []line
	eventually(t, "the worker is listed", func() bool {
		got := program(bounded(t), addr, "", "workers", "--json")
		if got.code != cli.ExitOK {
			t.Fatalf("%+v", got)
		}
		workers = decode[line](t, got.out)
		return len(workers) > 0
	})
	if w := workers[0]; len(workers) != 1 || w.PID != os.Getpid() || w.Slots != 4 || w.Queues["distpool"] == 0 || !strings.Contains(strings.Join(w.Tasks, " "), "square") {
		t.Errorf("got %+v", workers)
	}
	if got := program(bounded(t), addr, "", "workers"); !strings.HasPrefix(got.out, "WORKER ") || !strings.Contains(got.out, workers[0].Worker) {
		t.Errorf("got %+v", got)
	}
}

func TestAPausedQueueWaitsUntilItIsResumed(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	id := submitted(t, addr, "apply", "square", "12")
	type line struct {
		Queue            string
		Paused           bool
		Pending, Workers int
	}
	queue := func(args ...string) line {
		t.Helper()
		got := program(bounded(t), addr, "", append(append([]string{"queues"}, args...), "--json")...)
		lines := decode[line](t, got.out)
		if got.code != cli.ExitOK || len(lines) != 1 || lines[0].Queue != "distpool" {
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
	startWorker(t, addr)
	eventually(t, "the worker serves the queue", func() bool { return queue().Workers == 1 })
	if got := program(bounded(t), addr, "", "get", id, "--timeout", "2s"); got.code != cli.ExitNoResult {
		t.Errorf("a paused queue delivers: %+v", got)
	}
	if got := program(bounded(t), addr, "", "queues"); !strings.Contains(got.out, "paused") {
		t.Errorf("%+v", got)
	}
	if q := queue("resume", "distpool"); q.Paused {
		t.Errorf("resumed: %+v", q)
	}
	if got := program(bounded(t), addr, "", "get", id); got != (outcome{cli.ExitOK, "144\n", ""}) {
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
		got := program(bounded(t), addr, "", strings.Fields(args)...)
		if got.code != cli.ExitUsage || got.out != "" || !strings.Contains(got.err, want) {
			t.Errorf("%s: got %+v, want exit code 2 and %q", args, got, want)
		}
	}
	if got := program(bounded(t), addr, "", "queues", "pause", "unheard"); got.code != cli.ExitNoResult || !strings.Contains(got.err, "distpool queues lists") {
		t.Errorf("unknown queue: %+v", got)
	}
}

func TestTheCommandsThatLookSayThatThereIsNoRedis(t *testing.T) {
	mr := miniredis.RunT(t)
	addr := mr.Addr()
	mr.Close()
	for _, args := range []string{"jobs", "job x", "cancel x", "workers", "queues", "queues pause x", "doctor"} {
		if got := program(bounded(t), addr, "", strings.Fields(args)...); got.code != cli.ExitNoResult || !strings.Contains(got.err, addr) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestEachCommandThatLooksHasHelpWithAnExample(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for _, args := range []string{"jobs", "job", "cancel", "workers", "queues", "queues pause", "queues resume", "doctor", "version"} {
		got := program(bounded(t), addr, "", append(strings.Fields(args), "--help")...)
		if got.code != cli.ExitOK || !strings.Contains(got.out, "Examples:\n  distpool "+args) || !strings.Contains(got.out, "--json") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestVersionIsJSONToo(t *testing.T) {
	got := program(bounded(t), miniredis.RunT(t).Addr(), "", "version", "--json")
	lines := decode[struct{ Version, Go string }](t, got.out)
	if got.code != cli.ExitOK || len(lines) != 1 || !strings.HasPrefix(lines[0].Go, "go") {
		t.Errorf("%+v", got)
	}
}

func TestLanesOfAClusterAreShownAndRaised(t *testing.T) {
	addr := redistest.ClusterURL(redistest.StartCluster(t, 3))
	startWorker(t, addr)
	if got := program(bounded(t), addr, "", "apply", "square", "3"); got.code != cli.ExitOK {
		t.Fatalf("%+v", got)
	}
	type line struct {
		Lane, Master string
		New          bool
	}
	show := func(words ...string) []line {
		t.Helper()
		got := program(bounded(t), addr, "", append([]string{"queues", "lanes", "distpool", "--json"}, words...)...)
		if got.code != cli.ExitOK {
			t.Fatalf("%+v", got)
		}
		return decode[line](t, got.out)
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
	if got := program(bounded(t), addr, "", "queues", "lanes", "distpool", "100"); got.code == cli.ExitOK || !strings.Contains(got.err, "use 1 to") {
		t.Errorf("got %+v", got)
	}
}

func TestAQueueHasOneLaneOutsideACluster(t *testing.T) {
	addr := serve(t)
	if got := program(bounded(t), addr, "", "queues", "lanes", "distpool"); got.code != cli.ExitOK || !strings.Contains(got.out, "distpool  yes") {
		t.Errorf("got %+v", got)
	}
	if got := program(bounded(t), addr, "", "queues", "lanes", "distpool", "2"); got.code == cli.ExitOK || !strings.Contains(got.err, "no Cluster") {
		t.Errorf("got %+v", got)
	}
	if got := program(bounded(t), addr, "", "queues", "lanes", "distpool", "two"); got.code != cli.ExitUsage || !strings.Contains(got.err, `"two"`) {
		t.Errorf("got %+v", got)
	}
}
