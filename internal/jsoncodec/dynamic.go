package jsoncodec

import "reflect"

// checkDynamic is CheckType for what only a value shows: the types of values in
// interfaces, and structs without exported fields behind pointers. It runs after
// encoding, which has refused cycles.
func (c *Codec) checkDynamic(v any) error {
	if v == nil {
		return nil
	}
	return c.checkValue(reflect.ValueOf(v), 0)
}

func (c *Codec) checkValue(v reflect.Value, depth int) error {
	if v.Kind() == reflect.Interface {
		if v = v.Elem(); !v.IsValid() || v.Kind() <= reflect.Float64 || v.Kind() == reflect.String {
			return nil
		}
		if err := c.checkPlaced(placed{v.Type(), true}); err != nil {
			return err
		}
	}
	traits := c.traitsOf(v.Type())
	if !traits.dynamic || depth > maxTextDepth {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return c.checkValue(v.Elem(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := c.checkValue(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			if err := c.checkValue(iter.Value(), depth+1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if traits.opaque && !v.IsZero() {
			return opaqueError(v.Type())
		}
		for field, value := range v.Fields() {
			if !travels(field) {
				continue
			}
			if err := c.checkValue(value, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// isDynamic reports whether values of t may hold what only checkValue can see.
func (c *Codec) isDynamic(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if t.Kind() != reflect.Pointer && formOf(t) != byKind && !c.isTuple(t) {
		return false
	}
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return c.isDynamic(t.Elem(), seen)
	case reflect.Struct:
		if isOpaque(t) {
			return true
		}
		for i := range t.NumField() {
			if f := t.Field(i); travels(f) && c.isDynamic(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
