package tasks

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/guard"
)

// What a chunk does with its arguments.

func (c *chunk[A, R]) Splits(limit time.Duration) error {
	if c.task.args.array == nil {
		return errNotArray
	}
	if c.broken == nil {
		ctx, cancel := within(limit)
		defer cancel()
		_, c.broken = c.split(ctx)
	}
	return c.broken
}

func (c *chunk[A, R]) DecodeAll(limit time.Duration, keep bool) error {
	ctx, cancel := within(limit)
	defer cancel()
	data := c.data
	if keep {
		data = c.handed(data)
	}
	args, err := c.decodeAll(ctx, data, c.args)
	if err != nil {
		if _, left := err.(*guard.Left); left {
			c.args = make([]A, len(c.args)) // the old ones may still be written to
			return err
		}
		clear(c.args)
		if items, serr := c.task.args.split(ctx, c.data); serr == nil && len(items) != len(c.args) {
			err = c.complete(len(items)) // this explains more
		}
		return err
	}
	c.args, c.whole = args, true
	if !keep {
		c.data = nil
	}
	return nil
}

// handed is data for code that may keep what it is given to decode, and change it: other
// attempts, and other calls, need it as it is.
func (c *chunk[A, R]) handed(data []byte) []byte {
	if c.task.args.foreign.decode {
		return bytes.Clone(data)
	}
	return data
}

func (c *chunk[A, R]) decodeAll(ctx context.Context, data []byte, args []A) ([]A, error) {
	t := c.task
	n, err := t.args.decode(ctx, data, args)
	if err != nil {
		return nil, guard.About(fmt.Sprintf("arguments of %q: ", t.name), err)
	}
	return args, c.complete(n)
}

func (c *chunk[A, R]) complete(n int) error {
	if n == len(c.args) {
		return nil
	}
	return fmt.Errorf("arguments of %q: got %d, want %d; the record of the job is damaged", c.task.name, n, len(c.args))
}

func (c *chunk[A, R]) Load(i int, again bool) error {
	if c.whole && !again { // as nearly always
		return nil
	}
	if c.task.args.array == nil {
		if c.again == nil || c.spent[i] {
			args, err := c.decodeAll(context.Background(), c.handed(c.data), make([]A, len(c.args)))
			if err != nil {
				return err
			}
			c.again, c.spent = args, make([]bool, len(args))
		}
		c.args[i], c.spent[i] = c.again[i], true
		return nil
	}
	items, err := c.split(context.Background())
	if err != nil {
		return err
	}
	var arg A
	if err := c.task.args.unmarshal(context.Background(), c.handed(items[i]), &arg); err != nil {
		return c.task.argError(-1, err)
	}
	c.args[i] = arg
	return nil
}

func (c *chunk[A, R]) split(ctx context.Context) ([][]byte, error) {
	if items := c.items.Load(); items != nil {
		return *items, nil
	}
	items, err := c.task.args.split(ctx, c.data)
	if err != nil {
		return nil, guard.About(fmt.Sprintf("arguments of %q: ", c.task.name), err)
	}
	if err := c.complete(len(items)); err != nil {
		return nil, err
	}
	c.items.Store(&items)
	return items, nil
}

// within is a context that ends after d; 0: never.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeoutCause(context.Background(), d, fmt.Errorf("its time of %v is over", d))
}
