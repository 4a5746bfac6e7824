package tasks_test

import (
	"database/sql"
	"encoding/json"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/distpool/distpool/tasks"
)

// decodedAs decodes data as an item of a chunk of arguments. Every other type has its own
// instance of what it is called with, so there is no task of each here.
func decodedAs(typ reflect.Type, data string) error {
	return tasks.JSON.Unmarshal([]byte("["+data+"]"), reflect.New(reflect.SliceOf(typ)).Interface())
}

func refusesNull[A any](t *testing.T, data string, want ...string) {
	t.Helper()
	refusesNullAs(t, reflect.TypeFor[A](), data, want)
}

func refusesNullAs(t *testing.T, typ reflect.Type, data string, want []string) {
	t.Helper()
	if err := decodedAs(typ, data); err == nil {
		t.Errorf("%s is accepted as %v", data, typ)
	} else {
		wantContains(t, err.Error(), append(want, "cannot use JSON null as")...)
	}
}

func takesNull[A any](t *testing.T, data string) {
	t.Helper()
	if err := decodedAs(reflect.TypeFor[A](), data); err != nil {
		t.Errorf("%s as %v: %v", data, reflect.TypeFor[A](), err)
	}
}

type (
	seconds  float64
	settings struct {
		Name string
		Port int
		List []int
	}
	box[T any] struct{ V T }
	// orElse decodes null as -1.
	orElse int
	// unset encodes itself as null, and is decoded by its kind.
	unset struct{ N int }
)

func (o *orElse) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*o = -1
		return nil
	}
	return json.Unmarshal(data, (*int)(o))
}

func (unset) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func TestNullForARequiredArgumentIsAnError(t *testing.T) {
	refusesNull[int](t, "null", "as int")
	refusesNull[int](t, " null ")
	refusesNull[int8](t, "null", "as int8")
	refusesNull[uint64](t, "null")
	refusesNull[float64](t, "null")
	refusesNull[bool](t, "null")
	refusesNull[string](t, "null")
	refusesNull[seconds](t, "null", "as tasks_test.seconds")
	refusesNull[time.Duration](t, "null")
	refusesNull[json.Number](t, "null")
	refusesNull[settings](t, "null", "as tasks_test.settings")
	refusesNull[box[int]](t, "null")
	refusesNull[[3]int](t, "null")
	refusesNull[netip.Addr](t, "null") // UnmarshalText is not asked about null

	refusesNull[tasks.Args2[int, string]](t, `[1,null]`, "arg 2", "as string")
	refusesNull[tasks.Args2[int, string]](t, `[ null , "a" ]`, "arg 1", "as int")
	refusesNull[tasks.Args3[*int, settings, int]](t, `[null,null,1]`, "arg 2")
	refusesNull[tasks.Args2[[]int, map[string]int]](t, `[[1,null],{}]`, "arg 1", "[1]")

	// Items that would be zero.
	refusesNull[[]int](t, `[1,null,3]`, "as int at [0][1]")
	refusesNull[[][]float64](t, `[[],[1],[2, null ]]`, "as float64 at [0][2][1]")
	refusesNull[[2]int](t, `[1,null]`, "[1]")
	refusesNull[*[]int](t, `[null]`, "at [0][0]")
	refusesNull[map[string]int](t, `{"a":1,"b\n" : null}`, `at [0]["b\n"]`)
	refusesNull[map[string][]string](t, `{"a":["x"],"b":["null",null]}`, `at [0]["b"][1]`)
	refusesNull[map[int]settings](t, `{"7":{},"8":null}`, `at [0]["8"]`)
	refusesNull[[]settings](t, `[{},null]`, "[1]")
}

func TestNullGoesWhereItMeansNothing(t *testing.T) {
	takesNull[*int](t, "null")
	takesNull[**settings](t, "null")
	takesNull[[]int](t, "null")
	takesNull[map[string]int](t, "null")
	takesNull[any](t, "null")
	takesNull[[]byte](t, "null")
	takesNull[json.RawMessage](t, "null")
	takesNull[net.IP](t, "null") // a slice
	takesNull[struct{}](t, "null")
	takesNull[orElse](t, "null")
	takesNull[unset](t, "null")
	takesNull[big.Int](t, "null")
	takesNull[time.Time](t, "null") // by its own UnmarshalJSON
	takesNull[sql.NullString](t, "null")
	takesNull[sql.Null[int]](t, "null")
	takesNull[[]*int](t, "[1,null]")
	takesNull[[]any](t, "[null,[null],{\"a\":null}]")
	takesNull[map[string]any](t, `{"a":null,"b":[null]}`)
	takesNull[map[string]*settings](t, `{"a":null}`)
	takesNull[[]string](t, `["null"]`)
	takesNull[string](t, `"[null]"`)
	takesNull[map[string]int](t, `{"null":1,"a\"null":2}`)
	takesNull[tasks.Args2[*int, []string]](t, `[null,null]`)
	takesNull[tasks.Args2[orElse, any]](t, `[null,null]`)
	// In a struct it is as if the field were absent, as encoding/json has it.
	takesNull[settings](t, `{"Name":null,"List":[1]}`)
	takesNull[[]settings](t, `[{"Name":null}]`)
}

func TestNullCostsItsOwnCall(t *testing.T) {
	if got, want := runCall(t, decode(t, tasks.Define("double", double), "[null]", 1), 0).Error(), `argument of "double": cannot use JSON null as int: a value is required`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := runCall(t, decode(t, identity[byte](), "[1,null]", 2), 1); err == nil {
		t.Error("null is a byte")
	}
	c := decode(t, tasks.Define("double", double), `[1, null ,3]`, 3)
	for i := range 3 {
		if err := runCall(t, c, i); (err != nil) != (i == 1) {
			t.Errorf("Call(%d) = %v", i, err)
		}
	}
	if values, _ := c.Encode(func(i int) bool { return i == 1 }, 0); string(values) != "[2,0,6]" {
		t.Errorf("values %s", values)
	}
	// A value, too: of a worker whose task returns a pointer.
	bad, err := tasks.DecodeEach(identity[int](), []byte("[1,null,3]"), make([]int, 3))
	if err != nil || len(bad) != 1 || bad[1] == nil {
		t.Errorf("DecodeEach = %v, %v", bad, err)
	}
}
