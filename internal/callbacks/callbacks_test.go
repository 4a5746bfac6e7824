package callbacks

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s", what)
	}
}

func TestCallbackThatPanicsOrExitsHarmsNoOther(t *testing.T) {
	var out bytes.Buffer
	q := &Queue{Log: slog.New(slog.NewTextHandler(&out, nil))}
	var ran []string
	q.Push("J",
		func() { ran = append(ran, "first") },
		func() { panic("boom") },
		func() { ran = append(ran, "after panic") },
		runtime.Goexit,
		func() { ran = append(ran, "after Goexit") },
		runtime.Goexit, // the last one
	)
	await(t, q.Idle(), "an idle queue")
	if want := []string{"first", "after panic", "after Goexit"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	if !strings.Contains(out.String(), "boom") || strings.Count(out.String(), "level=ERROR") != 1 {
		t.Errorf("the log is\n%s\nwant the panic, once", out.String())
	}
	again := make(chan struct{})
	q.Push("J", func() { close(again) })
	await(t, again, "a callback after that")
	await(t, q.Idle(), "an idle queue")
}
