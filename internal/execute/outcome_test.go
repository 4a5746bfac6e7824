package execute

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

// text returns a string of so many bytes.
var text = tasks.Define("text", func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })

func TestAValueThatIsTooLargeFailsItsCall(t *testing.T) {
	e := executor(text)
	e.MaxResult = 100
	r := e.New(chunkOf(t, text, 10, 1000, 20), &host{})
	ends(t, Finished, r)
	o := r.Outcome()
	if ks := kinds(o); !maps.Equal(ks, map[int]wire.Kind{1: wire.KindBadResult}) || !strings.Contains(o.Errors[0].Message, "Config.MaxResult allows (100)") {
		t.Errorf("the failures are %+v", o.Errors)
	}
	if want := fmt.Sprintf("[%q,%q,%q]", strings.Repeat("x", 10), "", strings.Repeat("x", 20)); string(o.Values) != want {
		t.Errorf("the values are %s, want %s", o.Values, want)
	}
}

func TestShrinkLeavesOutTheLargestValues(t *testing.T) {
	r := executor(text).New(chunkOf(t, text, 10, 1000, 500, 20), &host{})
	ends(t, Finished, r)
	before := len(r.Outcome().Values)
	why := func(size int) string { return fmt.Sprintf("%d bytes do not fit", size) }
	if !r.Shrink(before/2, why) {
		t.Fatal("nothing is left out")
	}
	o := r.Outcome()
	if ks := kinds(o); !maps.Equal(ks, map[int]wire.Kind{1: wire.KindBadResult}) || len(o.Values) > before/2 || !strings.Contains(o.Errors[0].Message, "bytes do not fit") {
		t.Errorf("%d of %d bytes are left; the failures are %+v", len(o.Values), before, o.Errors)
	}
	for range 3 {
		if !r.Shrink(1, why) {
			t.Fatal("nothing is left out, although there are values")
		}
	}
	if o := r.Outcome(); o.Values != nil || len(o.Errors) != 4 || r.Shrink(1, why) {
		t.Errorf("the outcome is %+v, and can be made smaller", o)
	}
}

func TestShrinkShortensFailuresWithoutValues(t *testing.T) {
	long := strings.Repeat("long ", 1000)
	task := tasks.Define("long", func(context.Context, int) (int, error) { return 0, errors.New(long) })
	failing := chunkOf(t, task, 1, 2)
	unknown := chunkOf(t, task, 1, 2)
	unknown.Task = long
	for name, chunk := range map[string]*Chunk{"calls that fail": failing, "an unknown task": unknown} {
		r := executor(task).New(chunk, &host{})
		ends(t, Finished, r)
		before := len(r.Outcome().Encode())
		why := func(int) string { return "" }
		if !r.Shrink(1, why) || r.Shrink(1, why) {
			t.Errorf("%s: the failures are not shortened once, and only once", name)
		}
		if after := len(r.Outcome().Encode()); after > before/10 {
			t.Errorf("%s: of %d bytes %d are left", name, before, after)
		}
	}
}

// The next owner of a chunk may not know the raw form, whatever the readers of the outcomes
// do. The limit for values is that of the form in which they are to end.
func TestACheckpointIsNeverRaw(t *testing.T) {
	const size = 2 * rawbytes.Least
	task := tasks.Define("bytes", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
	e := executor(task)
	e.MaxResult, e.Exact, e.drainAfter = size+100, true, 1 // as base64 it would be too large
	chunk := chunkOf(t, task, size, 1)
	r := e.New(chunk, &host{})
	ends(t, Interrupted, r)
	p, _ := r.Partial(time.Time{})
	if p.Next != 1 || len(p.Errors) > 0 || len(p.Values) == 0 || rawbytes.Is(p.Values) {
		t.Errorf("the checkpoint has %d calls, failures %+v and %d bytes that start with %.10q; want 1, none, and JSON", p.Next, p.Errors, len(p.Values), p.Values)
	}
	chunk.Partial = p.Encode()
	e = executor(task)
	e.MaxResult = size + 100
	r = e.New(chunk, &host{})
	ends(t, Finished, r)
	if o := r.Outcome(); !rawbytes.Is(o.Values) || len(o.Errors) > 0 || len(o.Values) < size {
		t.Errorf("the outcomes start with %.10q, failures %+v; want the raw form", o.Values, o.Errors)
	}
}

func TestUntilNextSaveIsBounded(t *testing.T) {
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
