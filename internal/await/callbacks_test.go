package await

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestCallbacksRunOnceAndInOrderBeforeDone(t *testing.T) {
	h, _ := startHub(t)
	j := submitJob(t, h, "a", h.Pool, 1)
	var ran []int // the callbacks run one after the other, and Done comes after them
	for i := range 3 {
		j.OnSettle(func() { ran = append(ran, i) })
	}
	recordOut(t, h, "a", 0, "[0]", 1000)
	j.fail(ErrCanceled) // may come first or last: either settles the job once
	waitDone(t, j.Done(), "the end")
	j.fail(ErrCanceled)
	late := make(chan struct{})
	j.OnSettle(func() { ran = append(ran, 3); close(late) })
	waitDone(t, late, "a callback that was registered late")
	if !slices.Equal(ran, []int{0, 1, 2, 3}) {
		t.Errorf("callbacks ran in the order %v", ran)
	}
}

func TestCallbackThatPanicsOrExitsHarmsNoOther(t *testing.T) {
	var out bytes.Buffer
	q := &callbackQueue{log: slog.New(slog.NewTextHandler(&out, nil))}
	var ran []string
	q.push("J",
		func() { ran = append(ran, "first") },
		func() { panic("boom") },
		func() { ran = append(ran, "after panic") },
		runtime.Goexit,
		func() { ran = append(ran, "after Goexit") },
		runtime.Goexit, // the last one
	)
	waitDone(t, q.wait(), "an idle queue")
	if want := []string{"first", "after panic", "after Goexit"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	if !strings.Contains(out.String(), "boom") || strings.Count(out.String(), "level=ERROR") != 1 {
		t.Errorf("the log is\n%s\nwant the panic, once", out.String())
	}
	again := make(chan struct{})
	q.push("J", func() { close(again) })
	waitDone(t, again, "a callback after that")
	waitDone(t, q.wait(), "an idle queue")
}
