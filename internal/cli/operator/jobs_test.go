package operator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
)

// jobJSON is a line of jobs and of job.
type jobJSON struct {
	Job, Task, Queue, Status, Reason string
	Calls, Done, Failed, Chunks      int
	Rate, Lasted                     float64
	Created, Finished                time.Time
}

// listed waits until so many jobs are in the list: a pool lists them within a second.
func listed(t *testing.T, addr string, n int, args ...string) (jobs []jobJSON) {
	t.Helper()
	clitest.Eventually(t, "the jobs are listed", func() bool {
		got := clitest.Run(t, addr, "", append([]string{"jobs", "--json"}, args...)...)
		if got.Code != console.ExitOK {
			t.Fatalf("%+v", got)
		}
		jobs = clitest.Decode[jobJSON](t, got.Out)
		return len(jobs) >= n
	})
	if len(jobs) != n {
		t.Fatalf("%d jobs, want %d: %+v", len(jobs), n, jobs)
	}
	return jobs
}

func TestJobsAreListedNewestFirstAndFiltered(t *testing.T) {
	addr := clitest.Serve(t)
	good := clitest.Submitted(t, addr, "map", "square", "1", "2")
	bad := clitest.Submitted(t, addr, "apply", "fail", `"no luck"`)
	for id, code := range map[string]int{good: console.ExitOK, bad: console.ExitCallFailed} {
		if got := clitest.Run(t, addr, "", "get", id); got.Code != code {
			t.Fatalf("%+v", got)
		}
	}
	elsewhere := clitest.Submitted(t, addr, "apply", "square", "3", "--queue", "lonely")
	for _, row := range []struct {
		args string
		want []string
	}{
		{"", []string{elsewhere, bad, good}},
		{"--task square", []string{elsewhere, good}},
		{"--queue lonely", []string{elsewhere}},
		{"--status failed", []string{bad}},
		{"--status done", []string{good}},
		{"--status waiting --task square", []string{elsewhere}},
		{"--task nobody", nil},
	} {
		var ids []string
		for _, j := range listed(t, addr, len(row.want), strings.Fields(row.args)...) {
			ids = append(ids, j.Job)
		}
		if !slices.Equal(ids, row.want) {
			t.Errorf("jobs %s: %v, want %v", row.args, ids, row.want)
		}
	}
	if j := listed(t, addr, 1, "--status", "failed")[0]; j.Task != "fail" || j.Queue != "distpool" || j.Calls != 1 || j.Done != 1 || j.Failed != 1 || j.Finished.Before(j.Created) || j.Created.IsZero() {
		t.Errorf("got %+v", j)
	}

	table := clitest.Run(t, addr, "", "jobs", "--limit", "2")
	lines := strings.Split(strings.TrimSpace(table.Out), "\n")
	if table.Code != console.ExitOK || len(lines) != 3 || !strings.HasPrefix(lines[0], "JOB ") || !strings.HasPrefix(lines[2], bad) {
		t.Fatalf("got %+v", table)
	}
	at := strings.Index(lines[0], "STATUS")
	if !strings.HasPrefix(lines[1][at:], "waiting ") || !strings.HasPrefix(lines[2][at:], "failed ") {
		t.Errorf("columns do not stand under their heads:\n%s", table.Out)
	}
	if !strings.Contains(table.Err, "--limit 4") {
		t.Errorf("it does not say that there are more: %q", table.Err)
	}
}
