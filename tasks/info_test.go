package tasks_test

import (
	"context"
	"testing"

	"github.com/distpool/distpool/tasks"
)

func TestInfoIsZeroOutsideOfAWorker(t *testing.T) {
	if got := tasks.Info(t.Context()); got != (tasks.CallInfo{}) {
		t.Errorf("Info = %+v", got)
	}
}

func TestInfoTravelsInTheContext(t *testing.T) {
	want := tasks.CallInfo{
		Task: "square", Job: "j1", Call: 7, Calls: -1, Chunk: 2, Attempt: 3, Delivery: 4, Worker: "w", Queue: "q",
	}
	ctx, cancel := context.WithCancel(tasks.WithInfo(t.Context(), want))
	defer cancel()
	if got := tasks.Info(ctx); got != want {
		t.Errorf("Info = %+v, want %+v", got, want)
	}
	inner := tasks.WithInfo(ctx, tasks.CallInfo{Task: "inner"})
	if got := tasks.Info(inner).Task; got != "inner" {
		t.Errorf("Info is %q, want the innermost", got)
	}
}
