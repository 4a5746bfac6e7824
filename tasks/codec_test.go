package tasks_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/distpool/distpool/tasks"
)

// gobCodec is another format altogether, made of nothing but the Codec
// interface. Unlike JSON it cannot be split.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(v)
	return buf.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	r := bytes.NewReader(data)
	if err := gob.NewDecoder(r).Decode(v); err != nil {
		return err
	}
	if r.Len() > 0 {
		return fmt.Errorf("%d bytes after the value", r.Len())
	}
	return nil
}

func overGob[T any](values ...T) func(*testing.T) {
	return func(t *testing.T) {
		task := identity[T](tasks.WithCodec(gobCodec{}))
		if got := travel(t, task, values); !reflect.DeepEqual(got, values) {
			t.Errorf("got %#v, want %#v", got, values)
		}
	}
}

func TestAnotherCodecIsEnough(t *testing.T) {
	type point struct {
		X, Y int
		Name string
	}
	t.Run("int", overGob(0, math.MaxInt, math.MinInt, 0))
	t.Run("uint64", overGob[uint64](math.MaxUint64, 0))
	t.Run("NaN free", overGob(math.Inf(1), math.Inf(-1)))
	t.Run("invalid UTF-8", overGob("\xff\xfe", ""))
	t.Run("byte", overGob[byte](1, 0, 255))
	t.Run("bytes", overGob([]byte{1}, []byte{0xff}))
	t.Run("struct", overGob(point{}, point{X: 1, Name: "a"}, point{Y: -1}))
	t.Run("map", overGob(map[string][]int{"a": {1}}))
	t.Run("pair", overGob(tasks.Of2(1, "a"), tasks.Of2(0, "")))
	t.Run("triple", overGob(tasks.Of3(1, "a", []float64{1.5})))
}

func TestACodecThatCannotSplitFailsTheChunk(t *testing.T) {
	task := identity[int](tasks.WithCodec(gobCodec{}))
	data, err := identity[string](tasks.WithCodec(gobCodec{})).EncodeArgs([]string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = decoded(task, string(data), 1)
	if err == nil {
		t.Fatal("decoded strings as ints")
	}
	wantContains(t, err.Error(), `arguments of "identity"`, "gob")
	if err := task.DecodeValues(data, make([]int, 1)); err == nil {
		t.Error("DecodeValues decoded strings as ints")
	}
}

func TestACodecThatCannotSplitStillFindsTheBadValue(t *testing.T) {
	// In gob a nil pointer cannot be an item of a slice.
	task := tasks.Define("half", func(_ context.Context, n int) (*int, error) {
		if n%2 != 0 {
			return nil, nil
		}
		return new(n / 2), nil
	}, tasks.WithCodec(gobCodec{}))
	data, err := task.EncodeArgs([]int{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	c := decode(t, task, string(data), 4)
	for i := range 3 {
		if err := c.Call(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	values, bad := c.Encode(func(i int) bool { return i == 3 }, 0)
	if len(bad) != 2 || bad[0] == nil || bad[2] == nil {
		t.Errorf("bad = %v, want 0 and 2", bad)
	}
	got := make([]*int, 4)
	if err := task.DecodeValues(values, got); err != nil || *got[1] != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// brokenCodec fails where it is told to.
type brokenCodec struct {
	tasks.Codec
	marshal func(v any) error
}

func (c brokenCodec) Marshal(v any) ([]byte, error) {
	if err := c.marshal(v); err != nil {
		return nil, err
	}
	return c.Codec.Marshal(v)
}

func TestACodecThatRefusesOnlyTheWholeLosesNoError(t *testing.T) {
	boom := errors.New("too much at once")
	task := identity[int](tasks.WithCodec(brokenCodec{tasks.JSON, func(v any) error {
		if s, ok := v.([]int); ok && len(s) > 1 {
			return boom
		}
		return nil
	}}))
	_, err := task.EncodeArgs([]int{1, 2})
	if !errors.Is(err, boom) {
		t.Fatalf("EncodeArgs = %v", err)
	}
	wantContains(t, err.Error(), `arguments of "identity"`)

	c := decode(t, task, "[1,2,3]", 3)
	values, bad := c.Encode(func(i int) bool { return i == 1 }, 0)
	if values != nil || len(bad) != 2 || !errors.Is(bad[0], boom) || !errors.Is(bad[2], boom) {
		t.Errorf("Encode = %s, %v", values, bad)
	}
}

// copyingCodec decodes into a slice of its own and never into the one it got.
type copyingCodec struct{ tasks.Codec }

func (c copyingCodec) Unmarshal(data []byte, v any) error {
	fresh := reflect.New(reflect.TypeOf(v).Elem())
	err := c.Codec.Unmarshal(data, fresh.Interface())
	reflect.ValueOf(v).Elem().Set(fresh.Elem())
	return err
}

func TestDecodeValuesFillsTheGivenSlice(t *testing.T) {
	for name, task := range map[string]*tasks.Task[string, string]{
		"in place": identity[string](),
		"copied":   identity[string](tasks.WithCodec(copyingCodec{tasks.JSON})),
	} {
		// The slice is a window into a larger one, with old values in it.
		all := []string{"before", "old", "old", "old", "after"}
		if err := task.DecodeValues([]byte(`["a","","c"]`), all[1:4]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := []string{"before", "a", "", "c", "after"}; !slices.Equal(all, want) {
			t.Errorf("%s: got %q, want %q", name, all, want)
		}
	}
}

func TestDecodeValuesDoesNotAllocateForNumbers(t *testing.T) {
	task := identity[int]()
	args := make([]int, 1000)
	for i := range args {
		args[i] = i * i
	}
	data, err := task.EncodeArgs(args)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int, len(args))
	allocs := testing.AllocsPerRun(10, func() {
		if err := task.DecodeValues(data, out); err != nil {
			t.Fatal(err)
		}
	})
	// One for the slice header that the codec gets a pointer to.
	if allocs > 1 || !slices.Equal(out, args) {
		t.Errorf("%v allocations, equal: %v", allocs, slices.Equal(out, args))
	}
}

func TestDecodeValuesRefusesAnotherNumberOfValues(t *testing.T) {
	for _, data := range []string{"[]", "[1]", "[1,2,3]", "null", "[1,2,3,4,5,6,7,8]"} {
		all := []int{7, 7, 7, 7}
		err := identity[int]().DecodeValues([]byte(data), all[:2])
		if err == nil {
			t.Fatalf("DecodeValues(%s) into 2 values succeeded", data)
		}
		wantContains(t, err.Error(), `values of "identity"`, "want 2", "damaged")
		if all[2] != 7 || all[3] != 7 {
			t.Errorf("DecodeValues(%s) wrote behind its slice: %v", data, all)
		}
	}
	for _, data := range []string{"[]", "null"} {
		if err := identity[int]().DecodeValues([]byte(data), nil); err != nil {
			t.Errorf("DecodeValues(%s) into no values = %v", data, err)
		}
	}
}

func TestDecodeValuesNamesTheValueThatDoesNotFit(t *testing.T) {
	err := identity[int]().DecodeValues([]byte(`[1,2,"x"]`), make([]int, 3))
	if err == nil {
		t.Fatal("decoded a string as int")
	}
	wantContains(t, err.Error(), `value 2 of "identity"`, "cannot use JSON string as int", "result type")

	err = identity[int]().DecodeValues([]byte(`[1,2`), make([]int, 3))
	if err == nil {
		t.Fatal("decoded half an array")
	}
	wantContains(t, err.Error(), `values of "identity"`, "invalid JSON", "unexpected end")

	// A byte is not encoded as part of a byte string, nor decoded from one.
	for _, data := range []string{"[1,256]", `"AQI="`} {
		if err := identity[byte]().DecodeValues([]byte(data), make([]byte, 2)); err == nil {
			t.Errorf("decoded %s as two bytes", data)
		}
	}
}

type silentCodec struct{}

func (silentCodec) Name() string                { return "silent" }
func (silentCodec) Marshal(any) ([]byte, error) { return nil, nil }
func (silentCodec) Unmarshal([]byte, any) error { return nil }

func TestACodecThatReturnsNothingIsAnError(t *testing.T) {
	task := tasks.Declare[int, int]("square", tasks.WithCodec(silentCodec{}))
	if data, err := task.EncodeArgs([]int{1, 2}); err == nil || !strings.Contains(err.Error(), `"silent"`) {
		t.Errorf("two arguments are %q, %v; want an error that names the codec", data, err)
	}
}
