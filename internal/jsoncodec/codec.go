// Package jsoncodec is the default codec of tasks: encoding/json, with faster code for plain
// types, and with an error where encoding/json would lose a part of a value.
package jsoncodec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"

	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/rawbytes"
)

// Codec encodes and decodes JSON. [New] makes one. Several goroutines may use it at once.
type Codec struct {
	isTuple     func(reflect.Type) bool
	appendTuple func(tuple any, dst []byte) ([]byte, error)

	traits  sync.Map // reflect.Type -> traits
	travels sync.Map // placed -> verdict
}

// New returns a codec. isTuple reports whether a type is a tuple. appendTuple takes a pointer
// to a tuple and appends the encoded tuple to dst, by [Codec.AppendTuple]. A pointer to a
// tuple must be a [json.Unmarshaler] that calls [Codec.DecodeTuple].
func New(isTuple func(reflect.Type) bool, appendTuple func(tuple any, dst []byte) ([]byte, error)) *Codec {
	return &Codec{isTuple: isTuple, appendTuple: appendTuple}
}

// Name is the name of the codec.
func (c *Codec) Name() string { return "json" }

// Marshal encodes v.
func (c *Codec) Marshal(v any) ([]byte, error) {
	if data, ok := appendInts(v); ok {
		return data, nil
	}
	if data, ok := appendBytes(v); ok {
		return data, nil
	}
	if v != nil && c.traitsOf(reflect.TypeOf(v)).tuples {
		return c.encodeTuples(reflect.ValueOf(v))
	}
	var out singleWrite
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, jsonEncodeError(err)
	}
	if err := checkText(out.data, v); err != nil {
		return nil, err
	}
	if err := c.checkDynamic(v); err != nil {
		return nil, err
	}
	return out.data, nil
}

// Unmarshal decodes data into the variable that v points to.
func (c *Codec) Unmarshal(data []byte, v any) error {
	if rawbytes.Is(data) {
		return c.unmarshalRaw(data, v)
	}
	// First the quick ways, then the general one.
	if scanSlice(data, v) {
		return nil
	}
	if v == nil {
		return jsonDecodeError(json.Unmarshal(data, v)) // its error says why
	}
	if err := c.decode(data, v); err != nil {
		return err
	}
	return checkNulls(data, reflect.TypeOf(v).Elem())
}

func (c *Codec) decode(data []byte, v any) error {
	traits := c.traitsOf(reflect.TypeOf(v))
	if traits.tuples {
		if done, err := c.decodeTuples(data, reflect.ValueOf(v)); done {
			return err
		}
	}
	if !traits.iface {
		return jsonDecodeError(json.Unmarshal(data, v))
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return jsonDecodeError(err)
	}
	if rest := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("invalid JSON: %q after the value", rest[0])
	}
	return nil
}

// Split returns the encoded items of an encoded array. They share memory with data.
func (c *Codec) Split(data []byte) ([][]byte, error) {
	if rawbytes.Is(data) {
		return splitRaw(data)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		if items, ok := splitDeep(data); ok {
			return items, nil
		}
		return nil, jsonDecodeError(err)
	}
	if raw == nil {
		return nil, errors.New("cannot use JSON null as an array")
	}
	items := make([][]byte, len(raw))
	for i := range raw {
		items[i] = raw[i]
	}
	return items, nil
}

// Join makes an encoded array of encoded items.
func (c *Codec) Join(items [][]byte) ([]byte, error) {
	size := 2 + len(items)
	for _, item := range items {
		size += len(item)
	}
	out := append(make([]byte, 0, size), '[')
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	return append(out, ']'), nil
}

// singleWrite keeps what json.Encoder writes, which is everything at once and
// with a newline at the end.
type singleWrite struct{ data []byte }

func (w *singleWrite) Write(p []byte) (int, error) {
	w.data = append(w.data, bytes.TrimSuffix(p, []byte("\n"))...)
	return len(p), nil
}

// jsonError is an error of encoding/json, in words for a caller that did not choose JSON.
type jsonError struct {
	msg string
	err error
}

func (e *jsonError) Error() string { return e.msg }
func (e *jsonError) Unwrap() error { return e.err }

// The two functions below look at err itself and not at what it wraps: the
// words of a type's own MarshalJSON or UnmarshalJSON are better than ours.

func jsonEncodeError(err error) error {
	switch e := err.(type) {
	case *json.UnsupportedValueError:
		if strings.Contains(e.Str, "cycle") { // not the value, but what is wrong with it
			return &jsonError{"cannot encode as JSON: " + e.Str, err}
		}
		return &jsonError{fmt.Sprintf("cannot encode %s as JSON", e.Str), err}
	case *json.UnsupportedTypeError:
		return &jsonError{fmt.Sprintf("cannot encode %v as JSON", e.Type), err}
	}
	return &jsonError{strings.TrimPrefix(guard.Text(err), "json: "), err}
}

func jsonDecodeError(err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *json.UnmarshalTypeError:
		msg := fmt.Sprintf("cannot use JSON %s as %v", e.Value, e.Type)
		if e.Field != "" {
			msg += fmt.Sprintf(" in field %q", e.Field)
		}
		return &jsonError{msg, err}
	case *json.SyntaxError:
		if strings.HasSuffix(err.Error(), "exceeded max depth") {
			return &jsonError{fmt.Sprintf("nested deeper than the %d levels that can be decoded", maxDepth), err}
		}
		return &jsonError{"invalid JSON: " + err.Error(), err}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF { // json.Decoder's word for it
		return &jsonError{"invalid JSON: unexpected end of JSON input", err}
	}
	return &jsonError{strings.TrimPrefix(guard.Text(err), "json: "), err}
}
