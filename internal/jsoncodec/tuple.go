package jsoncodec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// AppendTuple appends the variables that args point to as an array. On an error, arg is the
// number of the argument that cannot be encoded, counted from 1.
func (c *Codec) AppendTuple(dst []byte, args ...any) (data []byte, arg int, err error) {
	dst = append(dst, '[')
	for i, p := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = appendValue(dst, p); ok {
			continue
		}
		item, err := c.Marshal(p)
		if err != nil {
			return nil, i + 1, err
		}
		dst = append(dst, item...)
	}
	return append(dst, ']'), 0, nil
}

// DecodeTuple decodes an array into the variables that args point to, three at most. On an
// error, arg is the number of the argument that cannot be decoded, counted from 1; it is 0 if
// data is not an array of as many items.
func (c *Codec) DecodeTuple(data []byte, args ...any) (arg int, err error) {
	items, err := splitTuple(data, len(args))
	if err != nil {
		return 0, fmt.Errorf("want an array of %d arguments, got %w", len(args), err)
	}
	for i, item := range items[:len(args)] {
		if scanValue(item, args[i]) {
			continue
		}
		if err := c.Unmarshal(item, args[i]); err != nil {
			return i + 1, err
		}
	}
	return 0, nil
}

// maxArity is the arity of the widest tuple.
const maxArity = 3

// splitTuple cuts an array of n items apart, without looking into them. Its
// error completes "got ...".
func splitTuple(data []byte, n int) (items [maxArity][]byte, err error) {
	got := 0
	ok := eachItem(data, func(item []byte) bool {
		if got < n {
			items[got] = item
		}
		got++
		return true
	})
	switch {
	case !ok:
		return items, notArray(data)
	case got != n:
		return items, fmt.Errorf("%d", got)
	}
	return items, nil
}

// notArray says what data is, other than an array.
func notArray(data []byte) error {
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return jsonDecodeError(err)
	}
	switch data = bytes.TrimLeft(data, " \n\t\r"); data[0] {
	case '{':
		return errors.New("JSON object")
	case '"':
		return errors.New("JSON string")
	case 't', 'f', 'n':
		return fmt.Errorf("JSON %s", bytes.TrimRight(data, " \n\t\r"))
	}
	return errors.New("JSON number")
}

// encodeTuples encodes a slice of tuples, or a pointer to one.
func (c *Codec) encodeTuples(v reflect.Value) ([]byte, error) {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.IsNil() {
		return []byte("null"), nil
	}
	// A guess at the size, small enough to be wrong, saves most of the growing.
	out := make([]byte, 0, min(2+16*v.Len(), 1<<16))
	out = append(out, '[')
	for i := range v.Len() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = c.appendTuple(v.Index(i).Addr().Interface(), out); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

// decodeTuples decodes an array into the slice of tuples that v points to, and
// reuses its memory. It is not done if it leaves data to encoding/json.
func (c *Codec) decodeTuples(data []byte, v reflect.Value) (done bool, err error) {
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return false, nil
	}
	slice := v.Elem()
	n := 0
	ok := eachItem(data, func(item []byte) bool {
		if n == slice.Cap() {
			slice.Grow(1)
		}
		slice.SetLen(n + 1)
		err = slice.Index(n).Addr().Interface().(json.Unmarshaler).UnmarshalJSON(item)
		n++
		return err == nil
	})
	if !ok {
		return false, nil
	}
	if n == 0 {
		slice.Set(reflect.MakeSlice(slice.Type(), 0, 0)) // not nil
	}
	return true, err
}
