package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/inspect"
)

func told(d inspect.Detail, waits string) string {
	var b strings.Builder
	for _, f := range jobFacts(newJobLine(d.Job, d.Rate()), d, waits, digits) {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-11s%s\n", f[0], f[1])
		}
	}
	return b.String()
}

func TestAJobIsToldInLines(t *testing.T) {
	var d inspect.Detail
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d.ID, d.Task, d.Queue, d.Status = "J", "sleep", "q", inspect.Running
	d.Created, d.Read = created.UnixMilli(), created.Add(10*time.Second)
	d.Calls, d.Done, d.Failed, d.Chunks, d.Recorded, d.Running = 2000, 1000, 1, 20, 10, 2
	d.Deaths = 3
	since := d.Read.Add(-2 * time.Second).UnixMilli()
	d.Runs = []inspect.ChunkRun{{Chunk: 10, Owner: "host:1:abc", Since: since}, {Chunk: 11}, {Chunk: 12, Owner: "host:2:def", Since: since}}
	const want = "job        J\n" +
		"task       sleep\n" +
		"queue      q\n" +
		"status     running\n" +
		"calls      1000 of 2000 are over, 1 failed\n" +
		"chunks     10 of 20 are over, 2 running\n" +
		"pace       100/s, 10s left\n" +
		"submitted  2026-01-02 03:04:05 UTC, 10s ago\n" +
		"deaths     3 times a chunk lost the worker that ran it\n" +
		"running    chunk 10 on host:1:abc for 2s\n" +
		"           chunk 12 on host:2:def for 2s\n"
	if got := told(d, ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	d.Status, d.Deaths, d.Runs, d.Done, d.Failed = inspect.Waiting, 0, nil, 0, 0
	if got := told(d, "no worker serves its queue"); !strings.Contains(got, "status     waiting: no worker serves its queue\n") || strings.Contains(got, "pace") || strings.Contains(got, "deaths") {
		t.Errorf("a job that waits:\n%s", got)
	}
}

func TestRatesAreShort(t *testing.T) {
	for rate, want := range map[float64]string{0: "-", 0.5: "0.5/s", 12.345: "12.3/s", 37512.2: "37512/s"} {
		if got := perSecond(rate, digits); got != want {
			t.Errorf("a rate of %v is %q, want %q", rate, got, want)
		}
	}
}
