package await

import (
	"slices"
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
	j.Fail(ErrCanceled) // may come first or last: either settles the job once
	waitDone(t, j.Done(), "the end")
	j.Fail(ErrCanceled)
	late := make(chan struct{})
	j.OnSettle(func() { ran = append(ran, 3); close(late) })
	waitDone(t, late, "a callback that was registered late")
	if !slices.Equal(ran, []int{0, 1, 2, 3}) {
		t.Errorf("callbacks ran in the order %v", ran)
	}
}
