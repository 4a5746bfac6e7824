package tasks

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/distpool/distpool/internal/failure"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/rawbytes"
)

// Codec turns arguments and values into bytes and back. Its methods may be
// called from several goroutines at once.
//
// distpool encodes the arguments of consecutive calls together, as a slice []A,
// and their values as a slice []R. When that fails it tries slices of a single
// item, to find the bad ones. So a codec needs to handle slices of all types
// that its tasks use; an [ArrayCodec] needs to handle the types alone, too.
type Codec interface {
	// Name identifies the codec to the other side; it follows the rules for
	// task names (see [Define]). An incompatible format needs another name.
	Name() string
	// Marshal encodes v. The result belongs to the caller.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into the variable that v points to. It is an error
	// if data is not exactly one value of its type. It must not keep data.
	//
	// The variable holds its zero value or, if it is a slice, a slice of length
	// 0 whose capacity is the expected number of items, all of them zero. A
	// codec that decodes into that memory saves an allocation and a copy.
	Unmarshal(data []byte, v any) error
}

// ArrayCodec is an optional addition to [Codec], for formats in which an
// encoded slice can be taken apart without knowing the type of its items. With
// it, an argument or a value that cannot be decoded fails its own call alone;
// without it, it fails the calls of its whole chunk.
type ArrayCodec interface {
	Codec
	// Split returns the encoded items of an encoded slice. They may share
	// memory with data.
	Split(data []byte) ([][]byte, error)
	// Join is the opposite of Split.
	Join(items [][]byte) ([]byte, error)
}

// TypeChecker is an optional addition to [Codec], for one that knows types of which
// it would lose something. It is asked for the argument and the result of each task
// that is made with it: an error makes [Define] panic. [JSON] is one.
type TypeChecker interface {
	Codec
	// CheckType returns an error if values of type t would not arrive as they are.
	CheckType(t reflect.Type) error
}

// errNotArray is why a codec that is no ArrayCodec cannot split.
var errNotArray = errors.New("the codec cannot split an encoded slice")

// sliceCoder encodes and decodes slices of T through a codec. Code that is not
// distpool's runs under guard; it has until ctx ends.
type sliceCoder[T any] struct {
	codec Codec
	array ArrayCodec // nil when the codec cannot split
	// byItem is set when a slice of T would not be encoded as an array of
	// items: most formats, JSON too, have a form of their own for byte strings.
	// Then every item is encoded alone, so that calls stay calls.
	byItem  bool
	raw     bool // the codec's arrays have a raw form, see package rawbytes
	foreign foreign
}

func newSliceCoder[T any](c Codec) sliceCoder[T] {
	array, ok := c.(ArrayCodec)
	return sliceCoder[T]{
		codec:   c,
		array:   array,
		byItem:  ok && reflect.TypeFor[T]().Kind() == reflect.Uint8,
		raw:     isJSON(c),
		foreign: foreignOf(c, reflect.TypeFor[T]()),
	}
}

// encodeFor is encode; byte strings may be in the raw form if raw is true.
func (s sliceCoder[T]) encodeFor(ctx context.Context, items []T, raw bool) ([]byte, error) {
	if byteStrings, ok := any(items).([][]byte); ok && s.raw && raw && rawbytes.Worth(byteStrings) {
		return rawbytes.Encode(byteStrings), nil
	}
	return s.encode(ctx, items)
}

// encode encodes items as one array. A nil slice is an empty array: "no calls"
// is not "null calls".
func (s sliceCoder[T]) encode(ctx context.Context, items []T) ([]byte, error) {
	if s.byItem {
		parts := make([][]byte, len(items))
		for i := range items {
			part, err := s.marshal(ctx, items[i])
			if err != nil {
				return nil, err
			}
			parts[i] = part
		}
		return s.join(ctx, parts)
	}
	if items == nil {
		items = []T{}
	}
	data, err := s.marshal(ctx, items)
	if err == nil && len(data) == 0 && len(items) > 0 { // it would be taken for no items
		err = fmt.Errorf("codec %q returned neither bytes nor an error", s.codec.Name())
	}
	return data, err
}

// decode decodes an array into dst, and returns the number of items that it
// has. Only if that is len(dst) are all of them in dst.
func (s sliceCoder[T]) decode(ctx context.Context, data []byte, dst []T) (int, error) {
	// Codecs leave alone what the data does not mention: a JSON null, a field
	// that is absent, a zero in gob.
	clear(dst)
	if s.byItem {
		return s.decodeItems(ctx, data, dst)
	}
	// The capacity ends with dst, so that surplus items cannot overwrite what
	// the caller keeps behind it.
	got := dst[:0:len(dst)]
	if err := s.unmarshal(ctx, data, &got); err != nil {
		return 0, err
	}
	if len(got) == len(dst) && len(got) > 0 && &got[0] != &dst[0] {
		copy(dst, got) // the codec made a slice of its own
	}
	return len(got), nil
}

func (s sliceCoder[T]) decodeItems(ctx context.Context, data []byte, dst []T) (int, error) {
	items, err := s.split(ctx, data)
	if err != nil || len(items) != len(dst) {
		return len(items), err
	}
	for i, item := range items {
		if err := s.unmarshal(ctx, item, &dst[i]); err != nil {
			return 0, err
		}
	}
	return len(items), nil
}

// decodeEach decodes an array of len(dst) items into dst. An item that cannot be
// decoded spoils only its own place, which is zero then: bad says why, by index. An
// error is about the array as a whole.
func (s sliceCoder[T]) decodeEach(ctx context.Context, data []byte, dst []T) (bad map[int]error, err error) {
	got, err := s.decode(ctx, data, dst)
	if err != nil || got != len(dst) {
		// One bad item spoils the whole array: read it again in pieces.
		items, serr := s.split(ctx, data)
		switch {
		case serr == nil:
			if got = len(items); got == len(dst) {
				bad = s.decodeSplit(ctx, items, dst)
			}
		case err != nil:
			return nil, err
		}
	}
	if got != len(dst) {
		return nil, fmt.Errorf("got %d, want %d; the record of the job is damaged", got, len(dst))
	}
	return bad, nil
}

func (s sliceCoder[T]) decodeSplit(ctx context.Context, items [][]byte, dst []T) (bad map[int]error) {
	clear(dst)
	for i, item := range items {
		if err := s.unmarshal(ctx, item, &dst[i]); err != nil {
			if bad == nil {
				bad = map[int]error{}
			}
			bad[i] = err
			var zero T
			dst[i] = zero
		}
	}
	return bad
}

// holds refuses a number of items that data cannot hold, before room is made for
// them. Of other formats than JSON nothing is known: package wire has the limit for
// these.
func (s sliceCoder[T]) holds(data []byte, n int) error {
	const small, perItem = 1024, 2 // a digit, with the bracket or comma before it
	if isJSON(s.codec) && n > small && n > len(data)/perItem {
		return fmt.Errorf("%d items in %d bytes", n, len(data))
	}
	return nil
}

// zeroTravels reports whether the zero value of T can be an item of an array.
func (s sliceCoder[T]) zeroTravels() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	data, err := s.encode(ctx, make([]T, 1))
	if err != nil {
		return false
	}
	n, err := s.decode(ctx, data, make([]T, 1))
	return err == nil && n == 1
}

// split returns the encoded items of an encoded array.
func (s sliceCoder[T]) split(ctx context.Context, data []byte) ([][]byte, error) {
	if s.array == nil {
		return nil, errNotArray
	}
	if isJSON(s.codec) {
		return s.array.Split(data)
	}
	return guarded(ctx, "splitting an encoded slice", nil, func() ([][]byte, error) { return s.array.Split(data) })
}

// join is the opposite of split.
func (s sliceCoder[T]) join(ctx context.Context, items [][]byte) ([]byte, error) {
	if isJSON(s.codec) {
		return s.array.Join(items)
	}
	return guarded(ctx, "joining encoded items", nil, func() ([]byte, error) { return s.array.Join(items) })
}

// marshal is the codec's Marshal, under guard: user types have encoding methods of
// their own, and one that panics on one value must not take the other calls of the
// chunk with it.
func (s sliceCoder[T]) marshal(ctx context.Context, v any) (data []byte, err error) {
	if !s.foreign.encode {
		defer func() {
			if p := recover(); p != nil {
				err = panicked("encoding", p)
			}
		}()
		return s.codec.Marshal(v)
	}
	return guarded(ctx, "encoding", reflect.TypeOf(v), func() ([]byte, error) { return s.codec.Marshal(v) })
}

// unmarshal is the codec's Unmarshal, under guard. What v points to must not be used
// after a *guard.Left.
func (s sliceCoder[T]) unmarshal(ctx context.Context, data []byte, v any) (err error) {
	if !s.foreign.decode {
		defer func() {
			if p := recover(); p != nil {
				err = panicked("decoding", p)
			}
		}()
		return s.codec.Unmarshal(data, v)
	}
	_, err = guarded(ctx, "decoding", reflect.TypeOf(v).Elem(), func() (struct{}, error) { return struct{}{}, s.codec.Unmarshal(data, v) })
	return err
}

// guarded runs f under guard. The error of code that did not return says what it was
// doing, and with which type, if that is known.
func guarded[V any](ctx context.Context, doing string, t reflect.Type, f func() (V, error)) (V, error) {
	var v V
	var theirs *foreignError
	err := guard.Apart(ctx, func() (err error) {
		if v, err = f(); err == nil {
			return nil
		}
		theirs = &foreignError{Foreign: failure.NewForeign(err)}
		if t != nil && (isTuple(t) || t.Kind() == reflect.Slice && isTuple(t.Elem())) { // its errors say which argument it is
			if arg, ok := failure.Find[*ArgError](err); ok && arg.Err != nil {
				theirs.arg = &ArgError{Call: -1, Arg: arg.Arg, Err: failure.NewForeign(arg.Err)}
			}
		}
		return theirs
	})
	if err == nil {
		return v, nil
	}
	var none V // v may still be written to, and theirs
	if _, left := err.(*guard.Left); !left && theirs != nil {
		return none, theirs
	}
	if t != nil {
		doing = fmt.Sprintf("%s %v", doing, t)
	}
	return none, guard.About(doing+" ", err)
}

// panicked makes an error of a panic's value: nothing of distpool or Go's library that runs
// without guard is known to panic.
func panicked(doing string, p any) error {
	return fmt.Errorf("%s panicked: %s", doing, guard.Text(p))
}

// foreignError is an error of foreign code, and the *ArgError found in it.
type foreignError struct {
	*failure.Foreign
	arg *ArgError
}
