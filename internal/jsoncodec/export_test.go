package jsoncodec

import "reflect"

// HoldsInterface reports whether the codec decodes a t as a type that can hold an interface.
func HoldsInterface(c *Codec, t reflect.Type) bool { return c.traitsOf(t).iface }
