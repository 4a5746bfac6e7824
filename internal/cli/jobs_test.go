package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/cli"
)

// jobJSON is a line of jobs and of job.
type jobJSON struct {
	Job, Task, Queue, Status, Reason string
	Calls, Done, Failed, Chunks      int
	Rate, Lasted                     float64
	Created, Finished                time.Time
}

// decode reads lines of JSON.
func decode[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(text) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in line %s", err, line)
		}
		all = append(all, v)
	}
	return all
}

// listed waits until so many jobs are in the list: a pool lists them within a second.
func listed(t *testing.T, addr string, n int, args ...string) (jobs []jobJSON) {
	t.Helper()
	eventually(t, "the jobs are listed", func() bool {
		got := program(bounded(t), addr, "", append([]string{"jobs", "--json"}, args...)...)
		if got.code != cli.ExitOK {
			t.Fatalf("%+v", got)
		}
		jobs = decode[jobJSON](t, got.out)
		return len(jobs) >= n
	})
	if len(jobs) != n {
		t.Fatalf("%d jobs, want %d: %+v", len(jobs), n, jobs)
	}
	return jobs
}

func submitted(t *testing.T, addr string, args ...string) (id string) {
	t.Helper()
	got := program(bounded(t), addr, "", append(args, "--async")...)
	if got.code != cli.ExitOK {
		t.Fatalf("%v: %+v", args, got)
	}
	return strings.TrimSpace(got.out)
}

func TestJobsAreListedNewestFirstAndFiltered(t *testing.T) {
	addr := serve(t)
	good := submitted(t, addr, "map", "square", "1", "2")
	bad := submitted(t, addr, "apply", "fail", `"no luck"`)
	for id, code := range map[string]int{good: cli.ExitOK, bad: cli.ExitCallFailed} {
		if got := program(bounded(t), addr, "", "get", id); got.code != code {
			t.Fatalf("%+v", got)
		}
	}
	elsewhere := submitted(t, addr, "apply", "square", "3", "--queue", "lonely")
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

	table := program(bounded(t), addr, "", "jobs", "--limit", "2")
	lines := strings.Split(strings.TrimSpace(table.out), "\n")
	if table.code != cli.ExitOK || len(lines) != 3 || !strings.HasPrefix(lines[0], "JOB ") || !strings.HasPrefix(lines[2], bad) {
		t.Fatalf("got %+v", table)
	}
	at := strings.Index(lines[0], "STATUS")
	if !strings.HasPrefix(lines[1][at:], "waiting ") || !strings.HasPrefix(lines[2][at:], "failed ") {
		t.Errorf("columns do not stand under their heads:\n%s", table.out)
	}
	if !strings.Contains(table.err, "--limit 4") {
		t.Errorf("it does not say that there are more: %q", table.err)
	}
}
