package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/distpool/distpool/tasks"
)

func TestOneBadArgumentFailsAlone(t *testing.T) {
	items := make([]string, 1000)
	for i := range items {
		items[i] = fmt.Sprint(i)
	}
	items[17], items[999] = `"seventeen"`, "1.5"
	task := tasks.Define("double", double)
	c := decode(t, task, "["+strings.Join(items, ",")+"]", len(items))

	failed := func(i int) bool { return i == 17 || i == 999 }
	for i := range c.Len() {
		switch err := c.Load(i, false); {
		case failed(i) != (err != nil):
			t.Errorf("Load(%d) = %v", i, err)
		case err == nil:
			if err := runCall(t, c, i); err != nil {
				t.Errorf("Call(%d) = %v", i, err)
			}
		}
	}
	if got, want := c.Load(17, false).Error(), `argument of "double": cannot use JSON string as int`; got != want {
		t.Errorf("Load(17) = %q, want %q", got, want)
	}
	values, bad := c.Encode(failed, 0)
	out := make([]int, len(items))
	if err := task.DecodeValues(values, out); err != nil || bad != nil {
		t.Fatalf("bad = %v, DecodeValues = %v", bad, err)
	}
	for i, v := range out {
		if want := 2 * i; v != want && !(failed(i) && v == 0) {
			t.Errorf("value %d = %d", i, v)
		}
	}
}

// journal keeps every decoding that it goes through.
type journal []string

func (j *journal) UnmarshalJSON(data []byte) error {
	if string(data) == "0" {
		return errors.New("zero")
	}
	*j = append(*j, string(data))
	return nil
}

func TestArgumentsNextToABadOneAreDecodedOnce(t *testing.T) {
	read := tasks.Define("read", func(_ context.Context, j journal) (int, error) { return len(j), nil })
	c := decode(t, read, "[1,2,0,3]", 4)
	for i := range 4 {
		if err := runCall(t, c, i); (err != nil) != (i == 2) {
			t.Errorf("Call(%d) = %v", i, err)
		}
	}
	if values, _ := c.Encode(func(i int) bool { return i == 2 }, 0); string(values) != "[1,1,0,1]" {
		t.Errorf("each was decoded so often: %s", values)
	}
}

func TestBadArgumentsNameTaskAndArgument(t *testing.T) {
	scale := tasks.Define2("scale", func(context.Context, float64, int8) (int, error) { return 0, nil })
	three := tasks.Define3("three", func(context.Context, int, struct{ N int }, []string) (int, error) { return 0, nil })
	nested := tasks.Define("nested", func(context.Context, struct{ P tasks.Args2[int, int] }) (int, error) { return 0, nil })
	for _, row := range []struct {
		task tasks.Runner
		arg  string
		num  int
		want string
	}{
		{scale, `[1,"x"]`, 2, `arg 2 of "scale": cannot use JSON string as int8`},
		{scale, `["x",1]`, 1, `arg 1 of "scale": cannot use JSON string as float64`},
		{scale, `[1,300]`, 2, `arg 2 of "scale": cannot use JSON number 300 as int8`},
		{scale, `[1,2.5]`, 2, `arg 2 of "scale": cannot use JSON number 2.5 as int8`},
		{scale, `[1e400,1]`, 1, `arg 1 of "scale": cannot use JSON number 1e400 as float64`},
		{scale, `[]`, 0, `argument of "scale": want an array of 2 arguments, got 0`},
		{scale, `[1]`, 0, `argument of "scale": want an array of 2 arguments, got 1`},
		{scale, `[1,2,3]`, 0, `argument of "scale": want an array of 2 arguments, got 3`},
		{scale, `null`, 0, `argument of "scale": want an array of 2 arguments, got JSON null`},
		{scale, `7`, 0, `argument of "scale": want an array of 2 arguments, got JSON number`},
		{scale, `"[1,2]"`, 0, `argument of "scale": want an array of 2 arguments, got JSON string`},
		{scale, `{"A":1,"B":2}`, 0, `argument of "scale": want an array of 2 arguments, got JSON object`},
		{three, `[1,{"N":"x"},[]]`, 2, `arg 2 of "three": cannot use JSON string as int in field "`},
		{three, `[1,{},["a",2]]`, 3, `arg 3 of "three": cannot use JSON number as string`},
		{three, `[1,2]`, 0, `argument of "three": want an array of 3 arguments, got 2`},
		// The task has one argument; that a part of it is a tuple is its own affair.
		{nested, `{"P":[1,"x"]}`, 0, `argument of "nested": arg 2: cannot use JSON string as int`},
	} {
		c := decode(t, row.task, "["+row.arg+"]", 1)
		err := c.Load(0, false)
		ae, ok := errors.AsType[*tasks.ArgError](err)
		if !ok {
			t.Errorf("%s: Load = %v, want an *ArgError", row.arg, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s: %q, want %q", row.arg, err, row.want)
		}
		if ae.Task != row.task.Name() || ae.Arg != row.num || ae.Call != -1 || ae.Err == nil {
			t.Errorf("%s: %+v, want Arg %d and Call -1", row.arg, ae, row.num)
		}
	}
}

func TestTheCauseOfABadArgumentStaysVisible(t *testing.T) {
	c := decode(t, tasks.Define("double", double), `["x"]`, 1)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](c.Load(0, false)); !ok {
		t.Errorf("%v hides its cause", c.Load(0, false))
	}
}

func TestUnreadableChunksFailAsAWhole(t *testing.T) {
	pair := tasks.Define2("pair", func(context.Context, int, int) (int, error) { return 0, nil })
	for _, row := range []struct {
		task tasks.Runner
		data string
		n    int
		want []string
	}{
		{tasks.Define("double", double), "[1,2]", 3, []string{`arguments of "double"`, "got 2, want 3", "damaged"}},
		{tasks.Define("double", double), `[1,"x"]`, 1, []string{`arguments of "double"`, "got 2, want 1"}},
		{tasks.Define("double", double), "null", 1, []string{"got 0, want 1"}},
		{tasks.Define("double", double), "", 1, []string{`arguments of "double"`, "invalid JSON", "unexpected end"}},
		{tasks.Define("double", double), "[1,2", 2, []string{"invalid JSON", "unexpected end"}},
		{tasks.Define("double", double), "[1,2] 3", 2, []string{"invalid JSON", "after top-level value"}},
		{tasks.Define("double", double), `{"0":1}`, 1, []string{`arguments of "double"`, "JSON object"}},
		{tasks.Define("double", double), "[1,tru]", 2, []string{"invalid JSON"}},
		{identity[any](), "[1,2", 2, []string{"invalid JSON", "unexpected end"}},
		{identity[any](), "[1,2] 3", 2, []string{"invalid JSON", "after the value"}},
		{identity[byte](), "[1,2]", 3, []string{"got 2, want 3"}},
		{identity[byte](), "[1,2", 2, []string{"invalid JSON"}},
		{identity[byte](), "null", 1, []string{"null"}},
		{pair, "[[1,2],[3,4]", 2, []string{"invalid JSON", "unexpected end"}},
		{pair, "[[1,2],[3,4}]", 2, []string{"invalid JSON"}},
		{pair, "[[1,2]]", 2, []string{"got 1, want 2"}},
		{pair, "null", 2, []string{"got 0, want 2"}},
	} {
		c, err := decoded(row.task, row.data, row.n)
		if err == nil {
			t.Errorf("Decode(%s, %d) = %v", row.data, row.n, c)
			continue
		}
		wantContains(t, err.Error(), row.want...)
	}
}

func TestOneUnencodableValueFailsAlone(t *testing.T) {
	root := tasks.Define("root", func(_ context.Context, x float64) (float64, error) { return math.Sqrt(x), nil })
	c := decode(t, root, "[4,-1,9,16]", 4)
	for i := range 4 {
		if err := runCall(t, c, i); err != nil {
			t.Fatal(err)
		}
	}
	values, bad := c.Encode(func(i int) bool { return i == 3 }, 0)
	if string(values) != "[2,0,3,0]" {
		t.Errorf("values = %s, want zero for the bad and the failed one", values)
	}
	if len(bad) != 1 || bad[1] == nil || bad[1].Error() != `result of "root": cannot encode NaN as JSON` {
		t.Errorf("bad = %v", bad)
	}
}

func TestValuesAreNilWhenNoCallIsLeft(t *testing.T) {
	all := func(int) bool { return true }
	if values, bad := decode(t, tasks.Define("double", double), "[1,2]", 2).Encode(all, 0); values != nil || bad != nil {
		t.Errorf("all failed: %s, %v", values, bad)
	}
	if values, bad := decode(t, tasks.Define("double", double), "[]", 0).Encode(all, 0); values != nil || bad != nil {
		t.Errorf("no calls: %s, %v", values, bad)
	}
	channel := tasks.Define("channel", func(context.Context, int) (any, error) { return make(chan int), nil })
	c := decode(t, channel, "[1,2,3]", 3)
	for i := range 2 {
		if err := runCall(t, c, i); err != nil {
			t.Fatal(err)
		}
	}
	values, bad := c.Encode(func(i int) bool { return i == 2 }, 0)
	if values != nil || len(bad) != 2 {
		t.Fatalf("unencodable type: %s, %v", values, bad)
	}
	wantContains(t, bad[0].Error(), `result of "channel"`, "cannot encode chan int as JSON")
}

// A retried call may leave the value of an attempt that failed in the end.
func TestValuesOfFailedCallsDoNotTravel(t *testing.T) {
	c := decode(t, tasks.Define("double", double), "[1,2]", 2)
	for i := range 2 {
		if err := runCall(t, c, i); err != nil {
			t.Fatal(err)
		}
	}
	if values, _ := c.Encode(func(i int) bool { return i == 0 }, 0); string(values) != "[0,4]" {
		t.Errorf("values = %s", values)
	}
}

// color cannot be encoded as long as it has no name.
type color struct{ name string }

var errNoColor = errors.New("no such color")

func (c color) MarshalJSON() ([]byte, error) {
	if c.name == "" {
		return nil, errNoColor
	}
	return json.Marshal(c.name)
}

func (c *color) UnmarshalJSON(data []byte) error {
	if string(data) == `"none"` {
		return errNoColor
	}
	return json.Unmarshal(data, &c.name)
}

// shade encodes its zero value, but does not take it back.
type shade struct{ n int }

func (s shade) MarshalText() ([]byte, error) {
	if s.n == 0 {
		return nil, nil
	}
	return fmt.Append(nil, s.n), nil
}

func (s *shade) UnmarshalText(text []byte) error {
	_, err := fmt.Sscan(string(text), &s.n)
	return err
}

func TestGoodValuesArriveThoughTheZeroValueCannot(t *testing.T) {
	paint := tasks.Define("paint", func(_ context.Context, name string) (color, error) { return color{name}, nil })
	c := decode(t, paint, `["","red","","blue"]`, 4)
	for i := range 4 {
		if err := runCall(t, c, i); err != nil {
			t.Fatal(err)
		}
	}
	values, bad := c.Encode(func(i int) bool { return i == 1 }, 0)
	if len(bad) != 2 || !errors.Is(bad[0], errNoColor) || !errors.Is(bad[2], errNoColor) {
		t.Errorf("bad = %v, want 0 and 2", bad)
	}
	colors := make([]color, 4)
	if err := paint.DecodeValues(values, colors); err != nil || colors[3].name != "blue" {
		t.Errorf("DecodeValues(%s) = %v, %v", values, colors, err)
	}

	tint := tasks.Define("tint", func(_ context.Context, n int) (shade, error) { return shade{n}, nil })
	c = decode(t, tint, "[5,6]", 2)
	if err := runCall(t, c, 1); err != nil {
		t.Fatal(err)
	}
	values, bad = c.Encode(func(i int) bool { return i == 0 }, 0)
	shades := make([]shade, 2)
	if err := tint.DecodeValues(values, shades); err != nil || bad != nil || shades[1].n != 6 {
		t.Errorf("DecodeValues(%s) = %v, %v; bad = %v", values, shades, err, bad)
	}
}

// grenade panics when it is encoded or decoded.
type grenade struct{ live bool }

func (g grenade) MarshalJSON() ([]byte, error) {
	if g.live {
		panic("boom")
	}
	return []byte(`"safe"`), nil
}

func (g *grenade) UnmarshalJSON(data []byte) error {
	if string(data) == `"boom"` {
		panic("boom")
	}
	return nil
}

func TestAPanickingEncodingMethodFailsItsCallAlone(t *testing.T) {
	task := tasks.Define("throw", func(_ context.Context, g grenade) (grenade, error) { return g, nil })
	c := decode(t, task, `["safe","boom","safe"]`, 3)
	if err := c.Load(1, false); err == nil {
		t.Error("Load(1) = nil")
	} else {
		wantContains(t, err.Error(), `argument of "throw"`, "decoding tasks_test.grenade panicked: boom")
	}
	if c.Load(0, false) != nil || c.Load(2, false) != nil {
		t.Errorf("Load = %v, %v", c.Load(0, false), c.Load(2, false))
	}

	arm := tasks.Define("arm", func(_ context.Context, live bool) (grenade, error) { return grenade{live}, nil })
	c = decode(t, arm, "[false,true]", 2)
	for i := range 2 {
		if err := runCall(t, c, i); err != nil {
			t.Fatal(err)
		}
	}
	values, bad := c.Encode(noneFailed, 0)
	if string(values) != `["safe","safe"]` || len(bad) != 1 {
		t.Fatalf("Encode = %s, %v", values, bad)
	}
	wantContains(t, bad[1].Error(), `result of "arm"`, "panicked: boom")

	_, err := task.EncodeArgs([]grenade{{}, {live: true}})
	if err == nil {
		t.Fatal("EncodeArgs = nil")
	}
	wantContains(t, err.Error(), `call 1: argument of "throw"`, "panicked: boom")
}

func TestCallsOfAChunkRunAtTheSameTime(t *testing.T) {
	const n = 50
	var all sync.WaitGroup
	all.Add(n)
	meet := tasks.Define("meet", func(_ context.Context, i int) (int, error) {
		all.Done()
		all.Wait() // for every other call
		if i%2 == 1 {
			return 0, errors.New("odd")
		}
		return i + 1, nil
	})
	args := make([]int, n)
	for i := range args {
		args[i] = i
	}
	data, err := meet.EncodeArgs(args)
	if err != nil {
		t.Fatal(err)
	}
	c := decode(t, meet, string(data), n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = runCall(t, c, i) })
	}
	wg.Wait()
	values, bad := c.Encode(func(i int) bool { return errs[i] != nil }, 0)
	out := make([]int, n)
	if err := meet.DecodeValues(values, out); err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	want := make([]int, n)
	for i := 0; i < n; i += 2 {
		want[i] = i + 1
	}
	if !slices.Equal(out, want) {
		t.Errorf("got %v", out)
	}
}

// A record that claims a million arguments in a few bytes is refused before there
// is room for them.
func TestClaimsOfMoreArgumentsThanThereAreBytesCostNothing(t *testing.T) {
	type large struct{ _ [1 << 12]int }
	task := tasks.Define("large", func(context.Context, large) (int, error) { return 0, nil })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := tasks.Erase(task).Chunk([]byte("[{}]"), 1<<20)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "1048576 items in 4 bytes") {
		t.Errorf("%v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("refusing it took %d bytes", n)
	}
}

// encoding/json counts the depth; what is nested deeper is an error of its chunk,
// and no stack grows without limit.
func TestArgumentsThatAreNestedTooDeepAreRefused(t *testing.T) {
	task := tasks.Define("any", func(context.Context, any) (int, error) { return 0, nil })
	const depth = 1 << 20
	data := "[" + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "]"
	if c, err := decoded(task, data, 1); err == nil && c.Load(0, false) == nil {
		t.Error("accepted")
	}
}
