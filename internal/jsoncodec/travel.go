package jsoncodec

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// encoding/json drops without a word what it has no form for: unexported fields, and
// the fields beside an embedded type with a MarshalJSON, which stands for the whole struct.
// CheckType refuses a type of which something would get lost that its author did
// not leave out: everything of a lock, a pool, a handle or a context has meaning in
// one process only.

// CheckType returns an error if something of each t would get lost.
func (c *Codec) CheckType(t reflect.Type) error { return c.checkPlaced(placed{t, false}) }

// placed is a type in a place. fixed says that a value there has no address: it is an
// item of a map, or in an interface. encoding/json does not call methods of a pointer to
// such a value.
type placed struct {
	t     reflect.Type
	fixed bool
}

func (c *Codec) checkPlaced(p placed) error {
	if known, ok := c.travels.Load(p); ok {
		return known.(verdict).err
	}
	err := typeWalk{c.isTuple, map[placed]bool{}}.check(p.t, false, p.fixed)
	c.travels.Store(p, verdict{err})
	return err
}

type verdict struct{ err error }

// typeWalk is a walk over a type and all that it holds.
type typeWalk struct {
	isTuple func(reflect.Type) bool
	met     map[placed]bool
}

// check is CheckType of a type in the walk. optional says that it need not be
// there: it is behind a pointer, or an item. For fixed see placed.
func (w typeWalk) check(t reflect.Type, optional, fixed bool) error {
	if w.met[placed{t, fixed}] {
		return nil
	}
	w.met[placed{t, fixed}] = true
	if t.Implements(contextType) {
		return &travelError{t, "a context cannot leave its process, and the task's function is given one"}
	}
	if t.Kind() == reflect.Pointer { // first, since it has the methods of what it points to
		return w.check(t.Elem(), true, false)
	}
	if fixed && encodesByPointer(t) {
		return &travelError{t, fmt.Sprintf("its encoding method belongs to *%v, and encoding/json does not call it for an item of a map, nor in an interface; use *%v there", t, t)}
	}
	switch formOf(t) {
	case byEmbedded:
		return checkEmbedding(t)
	case byMethod:
		if w.isTuple(t) {
			return w.checkFields(t, false)
		}
		return nil
	case byKind:
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return &travelError{t, fmt.Sprintf("a %v cannot leave its process as JSON", t.Kind())}
	case reflect.Slice:
		return w.check(t.Elem(), true, false)
	case reflect.Map:
		return w.check(t.Elem(), true, true)
	case reflect.Array:
		return w.check(t.Elem(), optional, fixed)
	case reflect.Struct:
		if isSync(t) || isOpaque(t) {
			if what := liveIn(t, map[reflect.Type]bool{}); what != "" {
				return &travelError{t, fmt.Sprintf("it holds a %s, so it cannot leave its process", what)}
			}
			if !optional {
				return opaqueError(t)
			}
		}
		if err := checkMerging(t); err != nil {
			return err
		}
		return w.checkFields(t, fixed)
	}
	return nil
}

func (w typeWalk) checkFields(t reflect.Type, fixed bool) error {
	for i := range t.NumField() {
		f := t.Field(i)
		if !travels(f) || !f.IsExported() && isOpaque(pointee(f.Type)) {
			continue
		}
		err := w.check(f.Type, false, fixed)
		if err == nil {
			continue
		}
		if errors.As(err, new(*fieldError)) {
			return err // it names the field that is nearest
		}
		return &fieldError{t, f.Name, err}
	}
	return nil
}

// travelError says why a t cannot travel.
type travelError struct {
	t   reflect.Type
	why string
}

func (e *travelError) Error() string { return fmt.Sprintf("%v cannot travel: %s", e.t, e.why) }

// fieldError says in which field of a struct the trouble is.
type fieldError struct {
	t     reflect.Type
	field string
	err   error
}

func (e *fieldError) Error() string {
	return fmt.Sprintf("field %s of %v: %v; leave the field out with the tag `json:\"-\"`, or pass something that names it, "+
		"such as the ID of a job", e.field, e.t, e.err)
}

func (e *fieldError) Unwrap() error { return e.err }

func opaqueError(t reflect.Type) error {
	return &travelError{t, "it has no exported field, so nothing of it would arrive; give it one, or the methods MarshalJSON and UnmarshalJSON"}
}

// checkEmbedding returns an error if t, which is encoded as one of its embedded
// fields, has others that would travel.
func checkEmbedding(t reflect.Type) error {
	var embedded reflect.Type
	var lost []string
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Anonymous && embedded == nil && hasForm(f.Type):
			embedded = f.Type
		case travels(f) && pointee(f.Type).Size() > 0 && (f.IsExported() || !isOpaque(pointee(f.Type))):
			lost = append(lost, f.Name)
		}
	}
	if len(lost) == 0 || embedded == nil {
		return nil
	}
	return &travelError{t, fmt.Sprintf("it embeds %v, whose methods encode the whole struct, so its other fields would get lost (%s); "+
		"give %v a name in it, or the struct its own MarshalJSON and UnmarshalJSON", embedded, strings.Join(lost, ", "), embedded)}
}

func isSync(t reflect.Type) bool { return t.PkgPath() == "sync" || t.PkgPath() == "sync/atomic" }

// travels reports whether encoding/json looks at the field.
func travels(f reflect.StructField) bool {
	if f.Tag.Get("json") == "-" {
		return false
	}
	return f.IsExported() || f.Anonymous && pointee(f.Type).Kind() == reflect.Struct
}

func pointee(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// isOpaque reports whether t is a struct that has state, and no field that is
// exported.
func isOpaque(t reflect.Type) bool { return opaque(t, map[reflect.Type]bool{}) }

func opaque(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t.Kind() != reflect.Struct || seen[t] || formOf(t) != byKind {
		return false
	}
	seen[t] = true
	state := false
	for i := range t.NumField() {
		f := t.Field(i)
		typ := pointee(f.Type)
		switch {
		case f.IsExported():
			return false
		case f.Name == "_" || typ.Size() == 0:
		case travels(f) && !opaque(typ, seen):
			return false
		default:
			state = true
		}
	}
	return state
}

// liveIn names what a t holds, in unexported fields too, that has a meaning in its
// process only: a channel, a function, a lock. It is empty if there is nothing.
func liveIn(t reflect.Type, seen map[reflect.Type]bool) string {
	if seen[t] || formOf(t) != byKind {
		return ""
	}
	seen[t] = true
	if isSync(t) {
		return t.String()
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return t.Kind().String()
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return liveIn(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if what := liveIn(t.Field(i).Type, seen); what != "" {
				return what
			}
		}
	}
	return ""
}

var contextType = reflect.TypeFor[context.Context]()
