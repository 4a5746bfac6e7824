package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// jsonTuple is what the JSON codec needs of a tuple.
type jsonTuple interface {
	json.Unmarshaler
	appendJSON(dst []byte) ([]byte, error)
}

// tupleError blames argument number arg of a tuple, or the whole tuple if arg is
// 0. The task adds its name.
func tupleError(arg int, err error) error {
	return &ArgError{Call: -1, Arg: arg, Err: err}
}

// appendTuple appends the variables that args point to as an array.
func appendTuple(dst []byte, args ...any) ([]byte, error) {
	dst = append(dst, '[')
	for i, arg := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = appendValue(dst, arg); ok {
			continue
		}
		data, err := jsonCodec{}.Marshal(arg)
		if err != nil {
			return nil, tupleError(i+1, err)
		}
		dst = append(dst, data...)
	}
	return append(dst, ']'), nil
}

// decodeTuple decodes an array into the variables that args point to.
func decodeTuple(data []byte, args ...any) error {
	items, err := splitTuple(data, len(args))
	if err != nil {
		return tupleError(0, fmt.Errorf("want an array of %d arguments, got %w", len(args), err))
	}
	for i, item := range items[:len(args)] {
		if scanValue(item, args[i]) {
			continue
		}
		if err := (jsonCodec{}).Unmarshal(item, args[i]); err != nil {
			return tupleError(i+1, err)
		}
	}
	return nil
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
func encodeTuples(v reflect.Value) ([]byte, error) {
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
		if out, err = v.Index(i).Addr().Interface().(jsonTuple).appendJSON(out); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

// decodeTuples decodes an array into the slice of tuples that v points to, and
// reuses its memory. It is not done if it leaves data to encoding/json.
func decodeTuples(data []byte, v reflect.Value) (done bool, err error) {
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
		err = slice.Index(n).Addr().Interface().(jsonTuple).UnmarshalJSON(item)
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
