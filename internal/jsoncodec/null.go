package jsoncodec

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// encoding/json leaves a variable alone where the data has a null, so an int
// becomes 0 and a caller that forgot an argument gets a wrong value. checkNulls
// refuses these nulls. It runs after decoding, on valid data, and costs one search
// for the word where there is none.

// checkNulls returns an error if data has a null for a t, or for an item within a t,
// that cannot be null. It does not look into structs, nor into types that decode
// themselves.
func checkNulls(data []byte, t reflect.Type) error {
	if !bytes.Contains(data, []byte("null")) {
		return nil
	}
	at, typ := findNull(data, t)
	switch {
	case typ == nil:
		return nil
	case at == "":
		return fmt.Errorf("cannot use JSON null as %v: a value is required", typ)
	}
	return fmt.Errorf("cannot use JSON null as %v at %s: a value is required", typ, at)
}

// findNull returns the place and the type of the first null that checkNulls is about;
// a nil type if there is none.
func findNull(data []byte, t reflect.Type) (at string, typ reflect.Type) {
	data = bytes.Trim(data, " \t\r\n")
	if string(data) == "null" {
		if takesNull(t) {
			return "", nil
		}
		return "", t
	}
	for t.Kind() == reflect.Pointer && !decodesItself(t) {
		t = t.Elem()
	}
	if len(data) == 0 || decodesItself(t) {
		return "", nil
	}
	switch {
	case t.Kind() == reflect.Slice && data[0] == '[', t.Kind() == reflect.Array && data[0] == '[':
		i := 0
		eachItem(data, func(item []byte) bool {
			if at, typ = findNull(item, t.Elem()); typ != nil {
				at = fmt.Sprintf("[%d]%s", i, at)
			}
			i++
			return typ == nil
		})
	case t.Kind() == reflect.Map && data[0] == '{':
		eachMember(data, func(key string, item []byte) bool {
			if at, typ = findNull(item, t.Elem()); typ != nil {
				at = fmt.Sprintf("[%.50q]%s", key, at)
			}
			return typ == nil
		})
	}
	return at, typ
}

// eachMember cuts an object, which is valid JSON, apart and hands its members to
// yield until that is false.
func eachMember(data []byte, yield func(key string, value []byte) bool) {
	for i := skipSpace(data, 1); i < len(data) && data[i] == '"'; {
		end := scanItem(data, i)
		if end == giveUp {
			return
		}
		member := data[i:end]
		quote := 1
		for ; quote < len(member) && member[quote] != '"'; quote++ {
			if member[quote] == '\\' {
				quote++
			}
		}
		if quote >= len(member) {
			return
		}
		key, err := strconv.Unquote(string(member[:quote+1]))
		if err != nil { // an escape that Go does not have: as it is written
			key = string(member[1:quote])
		}
		colon := skipSpace(member, quote+1)
		if colon == len(member) || !yield(key, member[colon+1:]) {
			return
		}
		i = skipSpace(data, end+1)
	}
}

// takesNull reports whether null means something for a t: nothing, or what the type
// itself makes of it. A type that encodes itself may encode itself as null.
func takesNull(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	case reflect.Struct:
		// The zero value of sql.Null and its kind is null, though they do not say so to
		// encoding/json.
		if t.NumField() == 0 || t.PkgPath() == "database/sql" && strings.HasPrefix(t.Name(), "Null") {
			return true
		}
	}
	return decodesItself(t) || t.Implements(marshalerType) || reflect.PointerTo(t).Implements(marshalerType)
}
