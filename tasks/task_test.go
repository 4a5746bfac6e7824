package tasks_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/distpool/distpool/tasks"
)

func TestEncodeArgsNamesTheFirstBadCall(t *testing.T) {
	pair := tasks.Declare[tasks.Args2[string, float64], int]("pair")
	_, err := pair.EncodeArgs([]tasks.Args2[string, float64]{
		tasks.Of2("a", 1.0), tasks.Of2("b", math.Inf(1)), tasks.Of2("\xff", 1.0),
	})
	ae, ok := errors.AsType[*tasks.ArgError](err)
	if !ok || ae.Task != "pair" || ae.Call != 1 || ae.Arg != 2 {
		t.Fatalf("EncodeArgs = %v (%+v)", err, ae)
	}
	if got, want := err.Error(), `call 1: arg 2 of "pair": cannot encode +Inf as JSON`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := errors.AsType[*json.UnsupportedValueError](err); !ok {
		t.Error("the cause is hidden")
	}

	_, err = tasks.Declare[any, int]("callback").EncodeArgs([]any{func() {}})
	if err == nil || err.Error() != `call 0: argument of "callback": cannot encode func() as JSON` {
		t.Errorf("EncodeArgs = %v", err)
	}
	_, err = tasks.Declare[json.RawMessage, int]("raw").EncodeArgs([]json.RawMessage{[]byte("1"), []byte("{")})
	if ae, ok := errors.AsType[*tasks.ArgError](err); !ok || ae.Call != 1 {
		t.Errorf("EncodeArgs = %v", err)
	}
	_, err = tasks.Declare[color, int]("mix").EncodeArgs([]color{{"red"}, {}})
	if ae, ok := errors.AsType[*tasks.ArgError](err); !ok || ae.Call != 1 || !errors.Is(err, errNoColor) {
		t.Errorf("EncodeArgs = %v", err)
	}
}

func TestNoArgumentsAreAnEmptyArray(t *testing.T) {
	for _, args := range [][]int{nil, {}} {
		if data, err := tasks.Define("double", double).EncodeArgs(args); err != nil || string(data) != "[]" {
			t.Errorf("EncodeArgs(%#v) = %s, %v", args, data, err)
		}
	}
	for _, args := range [][]tasks.Args2[int, int]{nil, {}} {
		if data, err := identity[tasks.Args2[int, int]]().EncodeArgs(args); err != nil || string(data) != "[]" {
			t.Errorf("EncodeArgs(%#v) = %s, %v", args, data, err)
		}
	}
	for _, args := range [][]byte{nil, {}} {
		if data, err := identity[byte]().EncodeArgs(args); err != nil || string(data) != "[]" {
			t.Errorf("EncodeArgs(%#v) = %s, %v", args, data, err)
		}
	}
}
