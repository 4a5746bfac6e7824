package progress_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/cli/progress"
	"github.com/distpool/distpool/results"
)

func TestLinesComeForEachTenth(t *testing.T) {
	var out bytes.Buffer
	m := progress.Lines(&out, "square", 1000)
	for i := range 1001 {
		m.Show(results.Progress{Done: i, Failed: 0})
	}
	m.End()
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(got) != 10 || got[0] != "square: 100 of 1000 (10%)" || got[9] != "square: 1000 of 1000 (100%)" {
		t.Errorf("lines %q", got)
	}
}

func TestLinesSkipWhatWasJumpedOver(t *testing.T) {
	var out bytes.Buffer
	m := progress.Lines(&out, "square", 7)
	m.Show(results.Progress{Done: 0, Failed: 0})
	m.Show(results.Progress{Done: 5, Failed: 1})
	m.Show(results.Progress{Done: 5, Failed: 1})
	m.Show(results.Progress{Done: 7, Failed: 2})
	want := "square: 5 of 7 (71%), 1 failed\nsquare: 7 of 7 (100%), 2 failed\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
}

func TestBarShowsCountsAndFailures(t *testing.T) {
	var out bytes.Buffer
	m := progress.Bar(&out, "square", 8)
	m.Show(results.Progress{Done: 2, Failed: 0})
	m.Say("by the way")
	m.Show(results.Progress{Done: 4, Failed: 1, Running: 3, Rate: 2.51, Left: 90 * time.Second})
	m.Show(results.Progress{Done: 5, NoWorker: true})
	m.End()
	for _, want := range []string{"square", "2/8", "by the way\n", "4/8", "(1 failed, 3 running, 2.51/s, 1m30s left)", "(no worker)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, &out)
		}
	}
}

func TestABufferIsNoTerminal(t *testing.T) {
	if progress.IsTerminal(&bytes.Buffer{}) {
		t.Error("a buffer is taken for a terminal")
	}
}
