package jsoncodec_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/distpool/distpool/internal/jsoncodec"
	"github.com/distpool/distpool/tasks"
)

func TestInterfacesAreFoundInTypes(t *testing.T) {
	type recursive struct {
		Next *recursive
		Map  map[string][]recursive
	}
	type hidden struct {
		Next *hidden
		Deep [2]map[int]*[]any
	}
	for want, vs := range map[bool][]any{
		false: {new(int), new([]string), new(map[string]float64), new(recursive), new(json.RawMessage), new(tasks.Args2[any, any]), new([]tasks.Args3[any, int, any])},
		true:  {new(any), new([]any), new(map[string]any), new(hidden), new([]hidden), new(struct{ E error }), new(*any)},
	} {
		for _, v := range vs {
			if got := jsoncodec.HoldsInterface(tasks.JSON.(*jsoncodec.Codec), reflect.TypeOf(v)); got != want {
				t.Errorf("%T can hold an interface: %v", v, got)
			}
		}
	}
}
