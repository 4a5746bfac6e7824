package tasks

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
)

// Held is the arguments that a stream has read and not sent, as they were when they
// were read: an input may reuse the memory of an argument for the next one. Only Keep,
// which changes nothing in it, is safe beside other methods.
//
// It exists for package producer.
type Held[A any] struct {
	name   string
	coder  sliceCoder[A]
	encode func(ctx context.Context, args []A, raw bool) ([]byte, error)
	fail   func(i int, err error) *ArgError
	how    holding

	args  []A      // as they are, or copies
	items [][]byte // encoded, instead
}

// holding is how arguments of a type are kept from changing.
type holding int

const (
	asTheyAre holding = iota // nothing in them can be changed by others
	cloned                   // a []byte
	encoded                  // each by itself, joined later
	decoded                  // encoded and decoded again: the codec cannot join
)

// Hold returns an empty Held for arguments of the task.
func Hold[A, R any](t *Task[A, R]) *Held[A] {
	h := &Held[A]{name: t.name, coder: t.args, encode: t.encodeFor, fail: t.argError}
	switch typ := reflect.TypeFor[A](); {
	case !sharesMemory(typ):
		h.how = asTheyAre
	case typ == reflect.TypeFor[[]byte]():
		h.how = cloned
	case h.coder.array != nil:
		h.how = encoded
	default:
		h.how = decoded
	}
	return h
}

// Kept is an argument that nothing can change any more.
type Kept[A any] struct {
	arg  A
	item []byte // encoded, instead of arg
}

// Keep makes the argument of call i, which is known for the error, safe from changes.
// An argument that cannot be encoded is an *ArgError, here or from Encode. Methods that
// have not returned when ctx ends are left behind.
func (h *Held[A]) Keep(ctx context.Context, i int, arg A) (Kept[A], error) {
	switch h.how {
	case cloned:
		return Kept[A]{arg: any(bytes.Clone(any(arg).([]byte))).(A)}, nil
	case encoded:
		item, err := h.item(ctx, arg)
		if err != nil {
			return Kept[A]{}, h.fail(i, err)
		}
		return Kept[A]{item: item}, nil
	case decoded:
		data, err := h.coder.encode(ctx, []A{arg})
		fresh := make([]A, 1)
		if err == nil {
			_, err = h.coder.decode(ctx, data, fresh)
		}
		if err != nil {
			return Kept[A]{}, h.fail(i, err)
		}
		return Kept[A]{arg: fresh[0]}, nil
	case asTheyAre:
	}
	return Kept[A]{arg: arg}, nil
}

// item is the encoded argument as an item of an array.
func (h *Held[A]) item(ctx context.Context, arg A) ([]byte, error) {
	array, err := h.coder.encode(ctx, []A{arg})
	if err != nil {
		return nil, err
	}
	items, err := h.coder.split(ctx, array)
	if err == nil && len(items) != 1 {
		err = fmt.Errorf("one argument was encoded as %d", len(items))
	}
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// Add appends an argument.
func (h *Held[A]) Add(k Kept[A]) {
	if h.how == encoded {
		h.items = append(h.items, k.item)
	} else {
		h.args = append(h.args, k.arg)
	}
}

// Len is the number of arguments.
func (h *Held[A]) Len() int { return len(h.args) + len(h.items) }

// Slice returns the arguments from lo to hi-1. It may be encoded while others are
// added to h.
func (h *Held[A]) Slice(lo, hi int) *Held[A] {
	some := *h
	if h.how == encoded {
		some.items = h.items[lo:hi]
	} else {
		some.args = h.args[lo:hi]
	}
	return &some
}

// Encode encodes the arguments as one array. Its error is as that of Task.EncodeArgs.
func (h *Held[A]) Encode(ctx context.Context) ([]byte, error) {
	if h.how == encoded {
		data, err := h.coder.join(ctx, h.items)
		if err != nil {
			return nil, fmt.Errorf("arguments of %q: %w", h.name, err)
		}
		return data, nil
	}
	return h.encode(ctx, h.args, true)
}

// Drop forgets the first n arguments.
func (h *Held[A]) Drop(n int) {
	if h.how == encoded {
		h.items = slices.Delete(h.items, 0, n)
	} else {
		h.args = slices.Delete(h.args, 0, n)
	}
}

// sharesMemory reports whether what a t holds can be changed by others that have it.
func sharesMemory(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return true
	case reflect.Array:
		return sharesMemory(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if sharesMemory(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}
