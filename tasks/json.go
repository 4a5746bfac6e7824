package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/rawbytes"
)

// JSON is the default codec: encoding/json, set up so that values arrive as
// what they were.
//
//   - Integers keep all their 64 bits. In a variable of type any a number
//     becomes a [json.Number], not a float64.
//   - A nil slice, map or pointer travels as null and arrives as nil; an empty
//     one arrives empty.
//   - Nothing is escaped for HTML.
//   - A string that is not valid UTF-8 is an error, since JSON cannot carry it:
//     use []byte, which travels as base64, or as it is where all of a large
//     argument or value is one []byte. (A type with its own MarshalJSON or
//     MarshalText answers for its output itself.)
//   - NaN and infinities are errors.
//   - Data after the value is an error, and so is a value that is nested deeper than
//     10,000 levels.
//   - A null is an error where it would become a zero value without a word: in place
//     of an argument, a value, or an item of a tuple, slice, array or map. Pointers,
//     slices, maps, interfaces, struct{}, the Null types of database/sql and types
//     with MarshalJSON or UnmarshalJSON take it.
//   - A type of which something would get lost is refused when a task of it is made:
//     see [Define].
//   - A [json.RawMessage] travels as it is, without its insignificant white
//     space; a nil one arrives as null.
//
// Struct fields follow the rules of encoding/json: unexported fields do not
// travel, unknown fields are ignored, names match without regard to case, and a
// null, for a field or within one, leaves what it stands for at its zero value, as
// if it were absent.
var JSON ArrayCodec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	if data, ok := appendInts(v); ok {
		return data, nil
	}
	if data, ok := appendBytes(v); ok {
		return data, nil
	}
	if v != nil && traitsOf(reflect.TypeOf(v)).tuples {
		return encodeTuples(reflect.ValueOf(v))
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
	if err := checkDynamic(v); err != nil {
		return nil, err
	}
	return out.data, nil
}

// CheckType implements TypeChecker.
func (jsonCodec) CheckType(t reflect.Type) error { return checkTravels(t) }

func (c jsonCodec) Unmarshal(data []byte, v any) error {
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

func (jsonCodec) decode(data []byte, v any) error {
	traits := traitsOf(reflect.TypeOf(v))
	if traits.tuples {
		if done, err := decodeTuples(data, reflect.ValueOf(v)); done {
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

func (jsonCodec) Split(data []byte) ([][]byte, error) {
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

func (jsonCodec) Join(items [][]byte) ([]byte, error) {
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

// jsonError is an error of encoding/json in words for someone who did not ask
// for JSON.
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
