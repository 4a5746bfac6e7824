package tasks

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/distpool/distpool/internal/call"
)

func (t *Task[A, R]) erase() call.Task {
	if t.fn == nil {
		panic("tasks.Erase: " + t.declaredOnly("run"))
	}
	return &erased[A, R]{task: t}
}

// erased is a task without its types. This is the one place where generic code
// meets plain bytes.
type erased[A, R any] struct {
	task *Task[A, R]
}

func (e *erased[A, R]) Name() string        { return e.task.Name() }
func (e *erased[A, R]) CodecName() string   { return e.task.Codec().Name() }
func (e *erased[A, R]) Policy() call.Policy { return e.task.Policy() }

func (e *erased[A, R]) Decode(data []byte, n int) (call.Chunk, error) {
	t := e.task
	if err := t.args.holds(data, n); err != nil {
		return nil, fmt.Errorf("arguments of %q: %w; the record of the job is damaged", t.name, err)
	}
	c := &chunk[A, R]{task: t, args: make([]A, n)}
	values := make([]R, n)
	c.held.Store(&values)
	got, err := t.args.decode(data, c.args)
	if err != nil {
		// One bad argument spoils the whole array. Read it again in pieces, so
		// that it spoils only its own call.
		items, serr := t.args.split(data)
		if serr != nil {
			return nil, fmt.Errorf("arguments of %q: %w", t.name, err)
		}
		if got = len(items); got == n {
			c.decodeItems(items)
		}
	}
	if got != n {
		return nil, fmt.Errorf("arguments of %q: got %d, want %d; the record of the job is damaged", t.name, got, n)
	}
	return c, nil
}

// chunk holds the arguments and the values of consecutive calls. Calls run at
// the same time, but each touches only its own index.
type chunk[A, R any] struct {
	task *Task[A, R]
	args []A
	held atomic.Pointer[[]R] // the values; Abandon replaces them while a call runs
	bad  map[int]error       // arguments that could not be decoded
	raw  call.Reads          // whether outcomes may be encoded in the raw form
}

func (c *chunk[A, R]) MayBeRaw() { c.raw = func() bool { return true } }

func (c *chunk[A, R]) decodeItems(items [][]byte) {
	clear(c.args)
	for i, item := range items {
		if err := c.task.args.unmarshal(item, &c.args[i]); err != nil {
			if c.bad == nil {
				c.bad = map[int]error{}
			}
			c.bad[i] = c.task.argError(-1, err)
		}
	}
}

func (c *chunk[A, R]) values() []R { return *c.held.Load() }

func (c *chunk[A, R]) Len() int { return len(c.args) }

func (c *chunk[A, R]) Bad(i int) error {
	if c.bad == nil { // as nearly always
		return nil
	}
	return c.bad[i]
}

func (c *chunk[A, R]) Call(ctx context.Context, i int) error {
	if err := c.Bad(i); err != nil {
		return err
	}
	values := c.values() // now: Abandon may replace them while the task runs
	v, err := c.task.fn(ctx, c.args[i])
	if err != nil {
		return err
	}
	values[i] = v
	return nil
}

func (c *chunk[A, R]) Restore(data []byte, has func(i int) bool) error {
	values := make([]R, len(c.values()))
	if err := c.task.DecodeValues(data, values); err != nil {
		return err
	}
	for i := range values {
		if has(i) {
			c.values()[i] = values[i]
		}
	}
	return nil
}

func (c *chunk[A, R]) Abandon(i int) {
	// The call keeps the old slice, and may still write to its place there.
	old := c.values()
	values := make([]R, len(old))
	copy(values[:i], old[:i])
	copy(values[i+1:], old[i+1:])
	c.held.Store(&values)
}

func (c *chunk[A, R]) Size(i int) int {
	data, err := c.task.values.encodeFor(c.values()[i:i+1], c.raw)
	if err != nil {
		return 0
	}
	return len(data)
}

func (c *chunk[A, R]) Encode(failed func(i int) bool) (values []byte, bad map[int]error) {
	return c.encodeFor(failed, c.raw)
}

func (c *chunk[A, R]) Save(failed func(i int) bool) (values []byte, bad map[int]error) {
	return c.encodeFor(failed, nil)
}

func (c *chunk[A, R]) encodeFor(failed func(i int) bool, raw call.Reads) (values []byte, bad map[int]error) {
	t := c.task
	var holes []int // calls without a value
	for i := range c.values() {
		if failed(i) {
			holes = append(holes, i)
		}
	}
	if len(holes) == len(c.values()) {
		return nil, nil
	}
	c.fill(holes)
	values, err := t.values.encodeFor(c.values(), raw)
	if err == nil {
		return values, nil
	}

	// One bad value spoils the whole array. Find the ones that do.
	bad = map[int]error{}
	for i := range c.values() {
		if failed(i) {
			continue
		}
		if _, err := t.values.encode(c.values()[i : i+1]); err != nil {
			bad[i] = t.valueError(err)
			holes = append(holes, i)
		}
	}
	if len(holes) < len(c.values()) {
		slices.Sort(holes)
		c.fill(holes)
		if values, err = t.values.encodeFor(c.values(), raw); err == nil {
			return values, bad
		}
		// The codec takes each value, but not all of them together.
		for i := range c.values() {
			if !failed(i) && bad[i] == nil {
				bad[i] = t.valueError(err)
			}
		}
	}
	return nil, bad
}

// fill puts a placeholder where there is no value: the zero value, or else a
// copy of the first value that there is. The copy is for types whose zero value
// does not survive the codec, such as an enumeration without a name for 0: it is
// sure to survive, whatever the codec, and whoever reads the values knows which
// calls failed. holes is sorted and does not cover everything.
func (c *chunk[A, R]) fill(holes []int) {
	if len(holes) == 0 {
		return
	}
	var placeholder R
	if !c.task.zeroTravels() {
		first := 0
		for first < len(holes) && holes[first] == first {
			first++
		}
		placeholder = c.values()[first]
	}
	for _, i := range holes {
		c.values()[i] = placeholder
	}
}
