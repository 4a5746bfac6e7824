package jsoncodec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// Foreign reports whether the codec runs code that neither distpool nor Go's library has
// written when it encodes or decodes a t. It looks at all of t that the codec looks at.
func (c *Codec) Foreign(t reflect.Type) (encode, decode bool) {
	f := foreign{isTuple: c.isTuple}
	f.look(t, map[reflect.Type]bool{})
	return f.encode, f.decode
}

// foreign is what Foreign has found so far.
type foreign struct {
	isTuple        func(reflect.Type) bool
	encode, decode bool
}

var (
	encoders = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[interface{ IsZero() bool }]()}
	decoders = []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
)

func (f *foreign) look(t reflect.Type, seen map[reflect.Type]bool) {
	if seen[t] || f.encode && f.decode {
		return
	}
	seen[t] = true
	// A struct without a name has the methods of what it embeds, and no package.
	if !f.isTuple(t) && t.Kind() != reflect.Interface && (t.PkgPath() != "" || t.Kind() == reflect.Struct) {
		theirs := !fromGo(t.PkgPath())
		encodes, decodes := implements(t, encoders), implements(t, decoders)
		f.encode = f.encode || theirs && encodes
		f.decode = f.decode || theirs && decodes
		if !theirs && (encodes || decodes) {
			return // such as time.Time
		}
	}
	switch t.Kind() {
	case reflect.Interface:
		f.encode = true // of any type; decoded into it are Go's own types
	case reflect.Map:
		f.look(t.Key(), seen)
		f.look(t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		f.look(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f.look(t.Field(i).Type, seen)
		}
	}
}

// implements reports whether t, or a pointer to it, is one of the interfaces.
func implements(t reflect.Type, interfaces []reflect.Type) bool {
	for _, i := range interfaces {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// fromGo reports whether a package is one of Go's library that is listed.
func fromGo(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return goPackages[first]
}

// goPackages are the first parts of the paths of Go's library that have types which
// encode or decode themselves. A module may have a path without a dot, so the list is
// of packages that are known to have such types.
var goPackages = map[string]bool{
	"crypto": true, "database": true, "encoding": true, "go": true, "log": true, "math": true, "net": true,
	"regexp": true, "time": true,
}
