package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/cli"
)

func TestRetryFailedPrintsTheIndexesOfTheOldJob(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	dir := t.TempDir()
	path := func(name string) string { b, _ := json.Marshal(filepath.Join(dir, name)); return string(b) }
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("one two\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	id := s.submitted(t, "map", "word_count", path("a"), path("b"), path("a"), path("c"), path("d"))
	if got := s.run(t, "", "get", id); got.code != cli.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	write("b")
	write("d")
	const counts = `{"lines":1,"words":2,"bytes":8}`
	got := s.run(t, "", "retry-failed", id)
	lines := strings.Split(got.out, "\n")
	if got.code != cli.ExitCallFailed || len(lines) != 4 || lines[0] != "1\t"+counts || !strings.HasPrefix(lines[1], `3	{"error":{"task":"word_count"`) || lines[2] != "4\t"+counts {
		t.Fatalf("%+v", got)
	}
	_, rest, _ := strings.Cut(got.err, "distpool: job ")
	again, rest, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(rest, "runs 3 failed calls of job "+id+" again\n") {
		t.Fatalf("standard error %q", got.err)
	}
	// What failed again is retried from the new job; and that from the one after.
	write("c")
	next := s.submitted(t, "retry-failed", again)
	if got := s.run(t, "", "get", next); got != (outcome{cli.ExitOK, counts + "\n", ""}) {
		t.Errorf("get: %+v", got)
	}
	if got := s.run(t, "", "retry-failed", next); got.code != cli.ExitOK || got.out != "" || !strings.Contains(got.err, "nothing to retry") {
		t.Errorf("of a job without failures: %+v", got)
	}
	if got := s.run(t, "", "retry-failed", "nobody"); got.code != cli.ExitNoResult || !strings.Contains(got.err, "nobody") {
		t.Errorf("unknown: %+v", got)
	}
	alone := s.submitted(t, "apply", "square", "1", "--queue", "lonely")
	if got := s.run(t, "", "retry-failed", alone); got.code != cli.ExitNoResult || !strings.Contains(got.err, "not over yet") {
		t.Errorf("not over: %+v", got)
	}
}

func TestRetryFailedStaysOnTheJobsQueue(t *testing.T) {
	s := newSite(t)
	s.worker(t, "-queues", "other")
	id := s.submitted(t, "apply", "fail", `"no luck"`, "--queue", "other")
	if got := s.run(t, "", "get", id); got.code != cli.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	if got := s.run(t, "", "retry-failed", id); got.code != cli.ExitCallFailed || !strings.HasPrefix(got.out, "0\t") {
		t.Errorf("%+v", got)
	}
	if got := s.run(t, "", "retry-failed", id, "--new-queue", "lonely", "--timeout", "3s"); got.code != cli.ExitNoResult || !strings.Contains(got.err, `no worker serves queue "lonely"`) {
		t.Errorf("--queue: %+v", got)
	}
}

func TestRetryFailedSaysWhichCallsItLeavesOut(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	// Five arguments of 15 MiB: the record keeps four of them.
	var in strings.Builder
	for range 5 {
		in.WriteString(`"` + strings.Repeat("x", 15<<20) + "\"\n")
	}
	got := s.run(t, in.String(), "map", "square", "--chunk-size", "1", "--async")
	id := strings.TrimSpace(got.out)
	if got := s.run(t, "", "get", id); got.code != cli.ExitCallFailed {
		t.Fatalf("exit code %d, %.500s", got.code, got.err)
	}
	got = s.run(t, "", "retry-failed", id, "--async")
	if got.code != cli.ExitCallFailed || !strings.Contains(got.err, "runs 4 failed calls") || !strings.Contains(got.err, "1 failed call cannot be retried") {
		t.Errorf("%+v", got)
	}
}
