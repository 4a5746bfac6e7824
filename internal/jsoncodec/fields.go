package jsoncodec

import (
	"fmt"
	"reflect"
	"strings"
)

// encoding/json takes the fields of an embedded struct for fields of the struct around
// it. It calls no method of an embedded struct then, and of two fields with the same name
// on the same level it leaves out both. It says so in neither case.

// checkMerging returns an error if something of t, a struct that is encoded field by
// field, gets lost in that way.
func checkMerging(t reflect.Type) error {
	names := map[string]*jsonName{}
	visited := map[reflect.Type]bool{}
	for level, depth := []reflect.Type{t}, 0; len(level) > 0; depth++ {
		var next []reflect.Type
		for _, s := range level {
			visited[s] = true
			for i := range s.NumField() {
				f := s.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				inner := pointee(f.Type)
				switch {
				case !travels(f):
				case !f.Anonymous || name != "" || inner.Kind() != reflect.Struct:
					addName(names, f, name, depth, fmt.Sprintf("%v.%s", s, f.Name))
				case hasForm(f.Type):
					return &travelError{t, fmt.Sprintf("it embeds %v, whose encoding methods are not called there, since another field hides them; give %v a name in it", f.Type, f.Type)}
				case !visited[inner]:
					next = append(next, inner)
				}
			}
		}
		level = next
	}
	for name, n := range names {
		if len(n.fields) > 1 {
			return &travelError{t, fmt.Sprintf("%s have the same name in JSON (%s), so both would get lost; give one of them another name, or leave it out with the tag `json:\"-\"`", strings.Join(n.fields, " and "), name)}
		}
	}
	return nil
}

// jsonName are the fields that compete for a name in JSON.
type jsonName struct {
	depth  int
	tagged bool     // they have the name from a tag, which wins on the same level
	fields []string // of that level
}

func addName(names map[string]*jsonName, f reflect.StructField, name string, depth int, field string) {
	tagged := name != ""
	if !tagged {
		name = f.Name
	}
	n := names[name]
	switch {
	case n == nil, n.depth == depth && tagged && !n.tagged:
		names[name] = &jsonName{depth, tagged, []string{field}}
	case n.depth == depth && tagged == n.tagged:
		n.fields = append(n.fields, field)
	}
}
