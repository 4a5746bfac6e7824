package worker

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

func TestACheckpointThatHangsDoesNotPutOffTheNextOneForMinutes(t *testing.T) {
	for _, c := range []struct{ took, next time.Duration }{
		{0, time.Second},
		{50 * time.Millisecond, time.Second},
		{300 * time.Millisecond, 6 * time.Second}, // a twentieth of the time
		{5 * time.Second, 20 * time.Second},       // its timeout
	} {
		if next := untilNextSave(c.took); next != c.next {
			t.Errorf("a checkpoint took %v, and the next one is due after %v, want %v", c.took, next, c.next)
		}
	}
}

// Who goes on with a chunk may be a worker from before there was the raw form, whoever
// reads its outcomes. The limit for values is that of the form in which they are to end.
func TestACheckpointIsNeverRaw(t *testing.T) {
	task := tasks.Define("checkpoint.bytes", func(_ context.Context, n int) ([]byte, error) {
		return bytes.Repeat([]byte{0xfe}, n), nil
	})
	const size = 2 * rawbytes.Least
	chunk, err := tasks.Erase(task).Chunk([]byte("[32768,1]"), 2)
	if err == nil {
		err = chunk.DecodeAll(0, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	chunk.MayBeRaw()
	w := &worker{cfg: Config{MaxResult: size + 100}} // as base64 it would be too large
	r := &chunkRun{worker: w, delivery: wire.Delivery{Job: "q/j", Number: 1}, task: task.Name(), calls: 2, total: 2, chunk: chunk, big: true}
	if err := chunk.Call(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	r.next = 1
	p, err := wire.ParsePartial(r.partialFrame(time.Time{}))
	if err != nil || p.Next != 1 {
		t.Fatalf("the checkpoint is %+v, %v", p, err)
	}
	if len(p.Errors) > 0 {
		t.Errorf("saving a value has failed its call: %+v", p.Errors)
	}
	if len(p.Values) == 0 || rawbytes.Is(p.Values) {
		t.Errorf("%d bytes are saved that start with %.10q, want JSON", len(p.Values), p.Values)
	}
	// Another worker goes on from there.
	other, err := tasks.Erase(task).Chunk([]byte("[32768,1]"), 2)
	if err == nil {
		err = other.DecodeAll(0, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	if bad, err := other.Restore(p.Values, func(i int) bool { return i == 0 }, 0); bad != nil || err != nil {
		t.Fatal(err)
	}
	if got := other.Size(0, 0); got < size*4/3 {
		t.Errorf("the value came back with a size of %d", got)
	}
	// In the end it is raw.
	if err := chunk.Call(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r.next = 2
	if values := r.encode(); !rawbytes.Is(values) || len(r.errors) > 0 {
		t.Errorf("the outcomes start with %.10q, errors %+v; want the raw form", values, r.errors)
	}
}
