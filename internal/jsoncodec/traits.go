package jsoncodec

import "reflect"

// traits is what the JSON codec wants to know about a type before it encodes or
// decodes.
type traits struct {
	// iface: a value of the type can hold an interface, in which a JSON number
	// would become a float64 unless the decoder is told otherwise. Only
	// json.Decoder can be told, and it is slower than json.Unmarshal.
	iface bool
	// tuples: the type is a slice of tuples, or a pointer to one.
	tuples bool
	// dynamic: a value of the type can hold what may not travel, and only the value
	// shows it. opaque: the type itself is a struct without exported fields.
	dynamic, opaque bool
}

func (c *Codec) traitsOf(t reflect.Type) traits {
	if known, ok := c.traits.Load(t); ok {
		return known.(traits)
	}
	found := traits{
		iface: holdsInterface(t, map[reflect.Type]bool{}), tuples: c.isTupleSlice(t),
		dynamic: c.isDynamic(t, map[reflect.Type]bool{}), opaque: isOpaque(t),
	}
	c.traits.Store(t, found)
	return found
}

func holdsInterface(t reflect.Type, seen map[reflect.Type]bool) bool {
	// A type that decodes itself never lets the decoder see what is inside.
	if seen[t] || decodesItself(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return holdsInterface(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsInterface(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

func (c *Codec) isTupleSlice(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	// A slice type with a name may have encoding methods of its own.
	return t.Kind() == reflect.Slice && t.Name() == "" && c.isTuple(t.Elem())
}
