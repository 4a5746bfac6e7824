package tasks

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/guard"
)

func (t *Task[A, R]) erase() call.Task {
	if t.fn == nil {
		panic("tasks.Erase: " + t.declaredOnly("run"))
	}
	return &erased[A, R]{task: t, codec: t.Codec().Name()}
}

// erased is a task without its types. This is the one place where generic code
// meets plain bytes.
type erased[A, R any] struct {
	task  *Task[A, R]
	codec string // its name
}

func (e *erased[A, R]) Name() string        { return e.task.Name() }
func (e *erased[A, R]) CodecName() string   { return e.codec }
func (e *erased[A, R]) Policy() call.Policy { return e.task.Policy() }

func (e *erased[A, R]) Chunk(data []byte, n int) (call.Chunk, error) {
	t := e.task
	if err := t.args.holds(data, n); err != nil {
		return nil, fmt.Errorf("arguments of %q: %w; the record of the job is damaged", t.name, err)
	}
	c := &chunk[A, R]{task: t, data: data, args: make([]A, n)}
	c.held.Store(&held[R]{values: make([]R, n)})
	return c, nil
}

// chunk holds the arguments and the values of consecutive calls. Calls run at
// the same time, but each touches only its own index.
type chunk[A, R any] struct {
	task   *Task[A, R]
	data   []byte // the encoded arguments; nil when they are not needed any more
	args   []A
	whole  bool // args has all of them
	again  []A  // decoded once more, where the codec cannot split
	spent  []bool
	items  atomic.Pointer[[][]byte] // data, split
	broken error                    // why data cannot be split
	held   atomic.Pointer[held[R]]  // the values; Abandon replaces them while a call runs
	saved  [][]byte                 // encoded values that another worker saved; nil: none
}

// held are the values of a chunk.
type held[R any] struct {
	values []R
	left   []int // calls that were abandoned: they must not begin any more
}

func (c *chunk[A, R]) values() []R { return c.held.Load().values }

func (c *chunk[A, R]) Len() int { return len(c.args) }

func (c *chunk[A, R]) Call(ctx context.Context, i int) error {
	h := c.held.Load() // now: Abandon may replace them while the task runs
	if slices.Contains(h.left, i) {
		return call.ErrAbandoned
	}
	v, err := c.task.fn(ctx, c.args[i])
	if err != nil {
		return err
	}
	h.values[i] = v
	return nil
}

// Restore keeps values encoded if decoding or encoding them runs foreign code, or if
// they cannot be decoded here: the producer may know how.
func (c *chunk[A, R]) Restore(data []byte, has func(i int) bool, limit time.Duration) (bad, damage error) {
	ctx, cancel := within(limit)
	defer cancel()
	coder := c.task.values
	if coder.foreign == (foreign{}) || coder.array == nil {
		values := make([]R, len(c.args))
		n, err := coder.decode(ctx, data, values)
		if err == nil && n == len(values) {
			for i := range values {
				if has(i) {
					c.values()[i] = values[i]
				}
			}
			return nil, nil
		}
		if coder.array == nil {
			if err == nil {
				return nil, c.otherNumber(n)
			}
			return guard.About(fmt.Sprintf("values of %q: ", c.task.name), err), nil
		}
	}
	items, err := coder.split(ctx, data)
	switch {
	case err != nil && isJSON(coder.codec):
		return nil, err
	case err != nil:
		return guard.About(fmt.Sprintf("values of %q: ", c.task.name), err), nil
	case len(items) != len(c.args):
		return nil, c.otherNumber(len(items))
	}
	c.saved = make([][]byte, len(items))
	for i, item := range items {
		if has(i) {
			c.saved[i] = item
		}
	}
	return nil, nil
}

func (c *chunk[A, R]) otherNumber(n int) error {
	return fmt.Errorf("values of %q: got %d, want %d; the record of the job is damaged", c.task.name, n, len(c.args))
}

func (c *chunk[A, R]) isSaved(i int) bool { return c.saved != nil && c.saved[i] != nil }

func (c *chunk[A, R]) Abandon(i int) {
	// The call keeps the old slice, and may still write to its place there.
	old := c.held.Load()
	values := make([]R, len(old.values))
	copy(values[:i], old.values[:i])
	copy(values[i+1:], old.values[i+1:])
	c.held.Store(&held[R]{values, append(slices.Clone(old.left), i)})
}

func (c *chunk[A, R]) Size(i int, limit time.Duration) int {
	if c.isSaved(i) {
		return len(c.saved[i]) + len("[]")
	}
	ctx, cancel := within(limit)
	defer cancel()
	data, err := c.task.values.encodeFor(ctx, c.values()[i:i+1], true)
	if err != nil {
		return 0
	}
	return len(data)
}

func (c *chunk[A, R]) Encode(failed func(i int) bool, limit time.Duration) (values []byte, bad map[int]error) {
	return c.encodeFor(failed, limit, true)
}

func (c *chunk[A, R]) Save(failed func(i int) bool, limit time.Duration) (values []byte, bad map[int]error) {
	return c.encodeFor(failed, limit, false)
}

func (c *chunk[A, R]) encodeFor(failed func(i int) bool, limit time.Duration, raw bool) (values []byte, bad map[int]error) {
	values, err := c.together(failed, limit, raw)
	if err == nil {
		return values, nil
	}
	// One bad value spoils the whole array: find the bad ones.
	_, left := err.(*guard.Left)
	bad = c.unencodable(failed, limit, left)
	without := func(i int) bool { return failed(i) || bad[i] != nil }
	if values, err = c.together(without, limit, raw); err == nil {
		return values, bad
	}
	// The codec takes each value, but not all of them together.
	for i := range c.values() {
		if !without(i) {
			bad[i] = c.task.valueError(err)
		}
	}
	return nil, bad
}

// unencodable tries each value alone, and says why it cannot be encoded. Once one was
// left behind the rest are tried at the same time: so the time that this takes does not
// grow with how many never return.
func (c *chunk[A, R]) unencodable(failed func(i int) bool, limit time.Duration, left bool) map[int]error {
	values := c.values()
	errs := make([]error, len(values))
	try := func(i int) {
		ctx, cancel := within(limit)
		defer cancel()
		_, errs[i] = c.task.values.encode(ctx, values[i:i+1])
	}
	var wg sync.WaitGroup
	for i := range values {
		switch {
		case failed(i) || c.isSaved(i):
		case left:
			wg.Go(func() { try(i) })
		default:
			try(i)
			_, left = errs[i].(*guard.Left)
		}
	}
	wg.Wait()
	bad := map[int]error{}
	for i, err := range errs {
		if err != nil {
			bad[i] = c.task.valueError(err)
		}
	}
	if left {
		// What was left behind still reads the old ones.
		c.held.Store(&held[R]{slices.Clone(values), c.held.Load().left})
	}
	return bad
}

// together encodes all values for which without is false, as one array. It returns nil
// if there are none.
func (c *chunk[A, R]) together(without func(i int) bool, limit time.Duration, raw bool) ([]byte, error) {
	ctx, cancel := within(limit)
	defer cancel()
	if c.saved != nil {
		return c.joined(ctx, without)
	}
	var holes []int // calls without a value
	for i := range c.values() {
		if without(i) {
			holes = append(holes, i)
		}
	}
	if len(holes) == len(c.values()) {
		return nil, nil
	}
	c.fill(holes)
	return c.task.values.encodeFor(ctx, c.values(), raw)
}

// joined is together where there are saved values: they are joined with what the others
// are encoded to. Any of them fills the places of calls without a value.
func (c *chunk[A, R]) joined(ctx context.Context, without func(i int) bool) ([]byte, error) {
	items := slices.Clone(c.saved)
	var ours []int
	var values []R
	for i := range items {
		switch {
		case without(i):
			items[i] = nil
		case items[i] == nil:
			ours, values = append(ours, i), append(values, c.values()[i])
		}
	}
	coder := c.task.values
	if len(ours) > 0 {
		data, err := coder.encode(ctx, values)
		if err != nil {
			return nil, err
		}
		encoded, err := coder.split(ctx, data)
		if err != nil {
			return nil, err
		}
		for k, i := range ours {
			items[i] = encoded[k]
		}
	}
	some := slices.IndexFunc(items, func(item []byte) bool { return item != nil })
	if some < 0 {
		return nil, nil
	}
	for i, item := range items {
		if item == nil {
			items[i] = items[some]
		}
	}
	return coder.join(ctx, items)
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
