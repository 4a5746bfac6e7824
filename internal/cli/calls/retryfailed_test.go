package calls_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/redistest"
)

func TestRetryFailedPrintsTheIndexesOfTheOldJob(t *testing.T) {
	addr := redistest.Start(t).Addr()
	clitest.StartWorker(t, addr)
	dir := t.TempDir()
	path := func(name string) string { b, _ := json.Marshal(filepath.Join(dir, name)); return string(b) }
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("one two\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	id := clitest.Submitted(t, addr, "map", "word_count", path("a"), path("b"), path("a"), path("c"), path("d"))
	if got := clitest.Run(t, addr, "", "get", id); got.Code != console.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	write("b")
	write("d")
	const counts = `{"lines":1,"words":2,"bytes":8}`
	got := clitest.Run(t, addr, "", "retry-failed", id)
	lines := strings.Split(got.Out, "\n")
	if got.Code != console.ExitCallFailed || len(lines) != 4 || lines[0] != "1\t"+counts || !strings.HasPrefix(lines[1], `3	{"error":{"task":"word_count"`) || lines[2] != "4\t"+counts {
		t.Fatalf("%+v", got)
	}
	_, rest, _ := strings.Cut(got.Err, "distpool: job ")
	again, rest, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(rest, "runs 3 failed calls of job "+id+" again\n") {
		t.Fatalf("standard error %q", got.Err)
	}
	// What failed again is retried from the new job; and that from the one after.
	write("c")
	next := clitest.Submitted(t, addr, "retry-failed", again)
	if got := clitest.Run(t, addr, "", "get", next); got != clitest.OK(counts+"\n") {
		t.Errorf("get: %+v", got)
	}
	if got := clitest.Run(t, addr, "", "retry-failed", next); got.Code != console.ExitOK || got.Out != "" || !strings.Contains(got.Err, "nothing to retry") {
		t.Errorf("of a job without failures: %+v", got)
	}
	if got := clitest.Run(t, addr, "", "retry-failed", "nobody"); got.Code != console.ExitNoResult || !strings.Contains(got.Err, "nobody") {
		t.Errorf("unknown: %+v", got)
	}
	alone := clitest.Submitted(t, addr, "apply", "square", "1", "--queue", "lonely")
	if got := clitest.Run(t, addr, "", "retry-failed", alone); got.Code != console.ExitNoResult || !strings.Contains(got.Err, "not over yet") {
		t.Errorf("not over: %+v", got)
	}
}

func TestRetryFailedStaysOnTheJobsQueue(t *testing.T) {
	addr := redistest.Start(t).Addr()
	clitest.StartWorker(t, addr, "other")
	id := clitest.Submitted(t, addr, "apply", "fail", `"no luck"`, "--queue", "other")
	if got := clitest.Run(t, addr, "", "get", id); got.Code != console.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	if got := clitest.Run(t, addr, "", "retry-failed", id); got.Code != console.ExitCallFailed || !strings.HasPrefix(got.Out, "0\t") {
		t.Errorf("%+v", got)
	}
	if got := clitest.Run(t, addr, "", "retry-failed", id, "--new-queue", "lonely", "--timeout", "3s"); got.Code != console.ExitNoResult || !strings.Contains(got.Err, `no worker serves queue "lonely"`) {
		t.Errorf("--queue: %+v", got)
	}
}

func TestRetryFailedSaysWhichCallsItLeavesOut(t *testing.T) {
	addr := redistest.Start(t).Addr()
	clitest.StartWorker(t, addr)
	// Five arguments of 15 MiB: the record keeps four of them.
	var in strings.Builder
	for range 5 {
		in.WriteString(`"` + strings.Repeat("x", 15<<20) + "\"\n")
	}
	got := clitest.Run(t, addr, in.String(), "map", "square", "--chunk-size", "1", "--async")
	id := strings.TrimSpace(got.Out)
	if got := clitest.Run(t, addr, "", "get", id); got.Code != console.ExitCallFailed {
		t.Fatalf("exit code %d, %.500s", got.Code, got.Err)
	}
	got = clitest.Run(t, addr, "", "retry-failed", id, "--async", "--new-queue", "lonely")
	if got.Code != console.ExitCallFailed || !strings.Contains(got.Err, "runs 4 failed calls") || !strings.Contains(got.Err, "1 failed call cannot be retried") {
		t.Errorf("exit code %d, %.500s", got.Code, got.Err)
	}
}
