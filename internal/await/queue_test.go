package await

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestCallbackThatPanicsOrExitsHarmsNoOther(t *testing.T) {
	var out bytes.Buffer
	q := &queue{log: slog.New(slog.NewTextHandler(&out, nil))}
	var ran []string
	q.push("J",
		func() { ran = append(ran, "first") },
		func() { panic("boom") },
		func() { ran = append(ran, "after panic") },
		runtime.Goexit,
		func() { ran = append(ran, "after Goexit") },
		runtime.Goexit, // the last one
	)
	waitIdle(t, q)
	if want := []string{"first", "after panic", "after Goexit"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	if !strings.Contains(out.String(), "boom") || strings.Count(out.String(), "level=ERROR") != 1 {
		t.Errorf("the log is\n%s\nwant the panic, once", out.String())
	}
	again := make(chan struct{})
	q.push("J", func() { close(again) })
	waitDone(t, again, "a callback after that")
	waitIdle(t, q)
}

func waitIdle(t *testing.T, q *queue) {
	t.Helper()
	if idle := q.whenIdle(); idle != nil {
		waitDone(t, idle, "an idle queue")
	}
}
