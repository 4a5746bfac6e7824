package tasks_test

import (
	"context"
	"encoding/json"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/tasks"
)

// identity returns a task whose function returns its argument.
func identity[T any](opts ...tasks.Option) *tasks.Task[T, T] {
	return tasks.Define("identity", func(_ context.Context, v T) (T, error) { return v, nil }, opts...)
}

func noneFailed(int) bool { return false }

// decoded is what a worker does first with the arguments of a chunk. An error is one of
// all its calls.
func decoded(task tasks.Runner, data string, n int) (call.Chunk, error) {
	c, err := tasks.Erase(task).Chunk([]byte(data), n)
	if err != nil {
		return nil, err
	}
	if err := c.DecodeAll(0, true); err != nil && c.Splits(0) != nil {
		return nil, err
	}
	return c, nil
}

func decode(t *testing.T, task tasks.Runner, data string, n int) call.Chunk {
	t.Helper()
	c, err := decoded(task, data, n)
	if err != nil {
		t.Fatalf("decoding %s: %v", data, err)
	}
	if c.Len() != n {
		t.Fatalf("Len() = %d, want %d", c.Len(), n)
	}
	return c
}

// runCall is what a worker does with each call.
func runCall(t *testing.T, c call.Chunk, i int) error {
	if err := c.Load(i, false); err != nil {
		return err
	}
	return c.Call(t.Context(), i)
}

// travel sends args all the way: encoded by a producer, decoded and run by a
// worker, and the values back.
func travel[A, R any](t *testing.T, task *tasks.Task[A, R], args []A) []R {
	t.Helper()
	data, err := task.EncodeArgs(args)
	if err != nil {
		t.Fatalf("EncodeArgs(%v) = %v", args, err)
	}
	c := decode(t, task, string(data), len(args))
	for i := range c.Len() {
		if err := c.Load(i, false); err != nil {
			t.Fatalf("Load(%d) = %v", i, err)
		}
		if err := c.Call(t.Context(), i); err != nil {
			t.Fatalf("Call(%d) = %v", i, err)
		}
	}
	values, bad := c.Encode(noneFailed, 0)
	if len(bad) > 0 {
		t.Fatalf("Encode: bad = %v", bad)
	}
	out := make([]R, len(args))
	if err := task.DecodeValues(values, out); err != nil {
		t.Fatalf("DecodeValues(%s) = %v", values, err)
	}
	return out
}

// unchanged checks that each value arrives as what it was, in a chunk with the
// others, alone, and next to others inside a tuple.
func unchanged[T any](values ...T) func(*testing.T) {
	return func(t *testing.T) {
		if got := travel(t, identity[T](), values); !reflect.DeepEqual(got, values) {
			t.Errorf("together:\n got %#v\nwant %#v", got, values)
		}
		pair, triple := identity[tasks.Args2[T, int]](), identity[tasks.Args3[string, T, []T]]()
		for i, v := range values {
			if got := travel(t, identity[T](), values[i:i+1]); !reflect.DeepEqual(got[0], v) {
				t.Errorf("alone: got %#v, want %#v", got[0], v)
			}
			two := tasks.Of2(v, i)
			if got := travel(t, pair, []tasks.Args2[T, int]{two}); !reflect.DeepEqual(got[0], two) {
				t.Errorf("in a pair: got %#v, want %#v", got[0], two)
			}
			three := tasks.Of3("s", v, values)
			if got := travel(t, triple, []tasks.Args3[string, T, []T]{three}); !reflect.DeepEqual(got[0], three) {
				t.Errorf("in a triple: got %#v, want %#v", got[0], three)
			}
		}
	}
}

type inner struct {
	N    *int
	Any  any
	Tags map[string][]string
	Raw  []byte
}

type outer struct {
	inner
	Name  string
	Inner *inner
	List  []inner
	When  time.Duration
}

type (
	level  uint8
	number int64
	title  string
)

func TestValuesArriveAsWhatTheyWere(t *testing.T) {
	seven := 7
	t.Run("int", unchanged(0, 1, -1, math.MaxInt, math.MinInt, math.MaxInt32, math.MinInt32))
	t.Run("int64", unchanged[int64](math.MaxInt64, math.MinInt64, math.MaxInt64-1, 1<<53+1, -(1<<53+1)))
	t.Run("uint64", unchanged[uint64](0, math.MaxUint64, math.MaxUint64-1, 1<<63))
	t.Run("int8", unchanged[int8](math.MaxInt8, math.MinInt8))
	t.Run("byte", unchanged[byte](0, 1, 255))
	t.Run("named byte", unchanged[level](0, 1, 255))
	t.Run("named int", unchanged[number](math.MaxInt64, math.MinInt64))
	t.Run("float64", unchanged(0, math.Copysign(0, -1), 1, -1.5, math.MaxFloat64, math.SmallestNonzeroFloat64,
		math.Pi, 1e-6, 1e-7, 1e20, 1e21, 0.1+0.2, 123456789.123456789))
	t.Run("float32", unchanged[float32](math.MaxFloat32, math.SmallestNonzeroFloat32, 0.1))
	t.Run("bool", unchanged(true, false))
	t.Run("string", unchanged("", " ", "plain", "größe 世界 🎉", `"quoted" \ back\slash`, "<b>&amp;</b>",
		"line\nfeed\ttab\x00nul\x1f\x7f", "\u2028\u2029", "\ufffd", `\ufffd`, `\\ufffd`, "[1,2]", strings.Repeat("x", 5000)))
	t.Run("named string", unchanged[title]("", "größe", "\ufffd"))
	t.Run("pointer", unchanged(nil, &seven, new(int)))
	t.Run("slice", unchanged([]int{}, []int{1}, nil, []int{2, 3}))
	t.Run("string slice", unchanged([]string{}, []string{""}, nil, []string{"a,b", "]"}))
	t.Run("nested slice", unchanged([][]int{}, [][]int{nil, {}, {1}}, nil))
	t.Run("bytes", unchanged([]byte{}, []byte{0, 255, '\n'}, nil, []byte("\xff\xfe")))
	t.Run("array", unchanged([3]int{1, 0, -1}, [3]int{}))
	t.Run("map", unchanged(map[string]int{}, map[string]int{"": 1, "größe": math.MaxInt}, nil))
	t.Run("nested map", unchanged(map[int]map[string][]*int{1: {"a": {nil, &seven}, "b": nil, "c": {}}, -2: nil, 3: {}}))
	t.Run("empty struct", unchanged(struct{}{}, struct{}{}))
	t.Run("struct", unchanged(outer{}, outer{
		inner: inner{N: &seven, Any: "x", Tags: map[string][]string{"a": nil, "b": {}}, Raw: []byte{}},
		Name:  "größe",
		Inner: &inner{Any: []any{nil, true, json.Number("9223372036854775807"), map[string]any{}}},
		List:  []inner{{}},
		When:  time.Hour,
	}))
	t.Run("any", unchanged[any](nil, true, "s", json.Number("18446744073709551615"), json.Number("1e400"),
		json.Number("-0.10"), []any{}, []any{json.Number("1"), nil}, map[string]any{"a": map[string]any{"b": json.Number("9007199254740993")}}))
	t.Run("time", unchanged(time.Time{}, time.Date(2024, 2, 29, 23, 59, 59, 999999999, time.UTC)))
	t.Run("text marshaler", unchanged(netip.MustParseAddr("::1"), netip.Addr{}))
	t.Run("big", unchanged(*big.NewInt(1), *new(big.Int).Lsh(big.NewInt(1), 200)))
	t.Run("raw", unchanged(json.RawMessage(`{"b":1,"a":[1.50,1e400,"<\u0041>"]}`), json.RawMessage("null"),
		json.RawMessage(`"\ufffd"`), json.RawMessage("-0"), json.RawMessage(`"größe"`)))
	t.Run("tuple of tuples", unchanged(tasks.Of2(tasks.Of2(1, []string(nil)), tasks.Of3("a", 2.5, any(nil)))))
	t.Run("pointer to tuple", unchanged(nil, new(tasks.Of2(1, "b"))))
}

func TestLargeIntegersInAnyAreNotFloats(t *testing.T) {
	type holder struct{ V any }
	got := travel(t, identity[holder](), []holder{{V: int64(math.MaxInt64)}, {V: uint64(math.MaxUint64)}})
	for i, want := range []json.Number{"9223372036854775807", "18446744073709551615"} {
		if got[i].V != want {
			t.Errorf("got %#v, want json.Number %s", got[i].V, want)
		}
	}
	pair := travel(t, identity[tasks.Args2[any, map[string]any]](),
		[]tasks.Args2[any, map[string]any]{tasks.Of2[any](int64(1<<53+1), map[string]any{"k": int64(math.MinInt64)})})
	if pair[0].A != json.Number("9007199254740993") || pair[0].B["k"] != json.Number("-9223372036854775808") {
		t.Errorf("got %#v", pair[0])
	}
}

func TestTimesKeepInstantAndOffset(t *testing.T) {
	want := time.Date(2024, 2, 29, 12, 0, 0, 1, time.FixedZone("somewhere", -5*3600))
	got := travel(t, identity[time.Time](), []time.Time{want})[0]
	_, gotOffset := got.Zone()
	if !got.Equal(want) || gotOffset != -5*3600 {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestANilRawMessageArrivesAsNull(t *testing.T) {
	if got := travel(t, identity[json.RawMessage](), []json.RawMessage{nil})[0]; string(got) != "null" {
		t.Errorf("got %q", got)
	}
}

// The command line submits raw JSON to tasks whose types it does not know.
func TestRawJSONFitsTypedTasks(t *testing.T) {
	raw := tasks.Declare[json.RawMessage, json.RawMessage]("scale")
	typed := tasks.Define2("scale", func(_ context.Context, x float64, by int) (float64, error) {
		return x * float64(by), nil
	})
	data, err := raw.EncodeArgs([]json.RawMessage{[]byte(`[1.5, 2]`), []byte("[2,\n3]")})
	if err != nil {
		t.Fatal(err)
	}
	c := decode(t, typed, string(data), 2)
	for i := range 2 {
		if err := c.Call(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	values, _ := c.Encode(noneFailed, 0)
	got := make([]json.RawMessage, 2)
	if err := raw.DecodeValues(values, got); err != nil || string(got[0]) != "3" || string(got[1]) != "6" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestByteArgumentsAreCallsAndNotAByteString(t *testing.T) {
	data, err := identity[byte]().EncodeArgs([]byte{1, 255})
	if err != nil || string(data) != "[1,255]" {
		t.Errorf("EncodeArgs = %s, %v", data, err)
	}
	data, err = identity[[]byte]().EncodeArgs([][]byte{{1, 255}})
	if err != nil || string(data) != `["Af8="]` {
		t.Errorf("EncodeArgs = %s, %v", data, err)
	}
}
