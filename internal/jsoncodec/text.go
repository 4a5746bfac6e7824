package jsoncodec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unicode/utf8"
)

// encoding/json does not refuse a string that is not valid UTF-8: it puts U+FFFD
// where the bad bytes were, and two different file names arrive as the same one.
// Checking every string first would cost as much as encoding it, so checkText
// looks for U+FFFD in the output, and only if it is there, for the string that it
// came from.

// encoding/json writes the escape, its successor the character itself.
var replacements = [][]byte{[]byte(`\ufffd`), []byte("\ufffd")}

// checkText reports text in v that data, the encoding of v, does not carry.
func checkText(data []byte, v any) error {
	if slices.ContainsFunc(replacements, func(r []byte) bool { return bytes.Contains(data, r) }) {
		if s, found := findInvalid(reflect.ValueOf(v), 0); found {
			return fmt.Errorf("string %.50q is not valid UTF-8, which JSON cannot carry; use []byte", s)
		}
	}
	if !utf8.Valid(data) {
		// From a json.RawMessage or a MarshalJSON, which are copied unseen.
		return errors.New("raw JSON is not valid UTF-8")
	}
	return nil
}

// maxTextDepth keeps findInvalid out of cycles. The encoder has already refused
// those that it saw, but it may not have looked at all that findInvalid does.
const maxTextDepth = 1000

// findInvalid returns a string in v that is not valid UTF-8. It looks where
// encoding/json looks.
func findInvalid(v reflect.Value, depth int) (string, bool) {
	if !v.IsValid() || depth > maxTextDepth || encodesItself(v) {
		return "", false
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return findInvalid(v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if s, found := findInvalid(v.Index(i), depth+1); found {
				return s, true
			}
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			if key := iter.Key(); key.Kind() == reflect.String && !utf8.ValidString(key.String()) {
				return key.String(), true
			}
			if s, found := findInvalid(iter.Value(), depth+1); found {
				return s, true
			}
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			if !field.IsExported() && !field.Anonymous || field.Tag.Get("json") == "-" {
				continue
			}
			if s, found := findInvalid(value, depth+1); found {
				return s, true
			}
		}
	}
	return "", false
}

// encodesItself reports whether encoding/json calls a method of v.
func encodesItself(v reflect.Value) bool {
	t := v.Type()
	if t.Implements(marshalerType) || t.Implements(textMarshalerType) {
		return true
	}
	if !v.CanAddr() {
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(marshalerType) || p.Implements(textMarshalerType)
}
