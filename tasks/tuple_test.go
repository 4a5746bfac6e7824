package tasks_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/distpool/distpool/tasks"
)

func TestZipStopsAtTheShortest(t *testing.T) {
	ints, names, flags := []int{1, 2, 3}, []string{"a", "b"}, []bool{true}
	if got, want := tasks.Zip2(ints, names), []tasks.Args2[int, string]{{1, "a"}, {2, "b"}}; !slices.Equal(got, want) {
		t.Errorf("Zip2 = %v", got)
	}
	if got, want := tasks.Zip2(names, ints), []tasks.Args2[string, int]{{"a", 1}, {"b", 2}}; !slices.Equal(got, want) {
		t.Errorf("Zip2 = %v", got)
	}
	if got, want := tasks.Zip3(ints, names, flags), []tasks.Args3[int, string, bool]{{1, "a", true}}; !slices.Equal(got, want) {
		t.Errorf("Zip3 = %v", got)
	}
	if got := tasks.Zip2(ints, []string(nil)); got == nil || len(got) != 0 {
		t.Errorf("Zip2 with nothing = %#v", got)
	}
	if got := tasks.Zip3(ints, []string(nil), flags); got == nil || len(got) != 0 {
		t.Errorf("Zip3 with nothing = %#v", got)
	}
}

func TestArity(t *testing.T) {
	for want, tuple := range map[int]tasks.Tuple{2: tasks.Of2(1, 2), 3: tasks.Of3(1, 2, 3)} {
		if got := tuple.Arity(); got != want {
			t.Errorf("%T.Arity() = %d", tuple, got)
		}
	}
}

// Inside another type a tuple meets encoding/json without the codec.
func TestTuplesAreArraysToEncodingJSON(t *testing.T) {
	type holder struct {
		P *tasks.Args2[int, string]
		T tasks.Args3[any, []int, tasks.Args2[bool, float64]]
	}
	in := holder{new(tasks.Of2(1, "a\"b")), tasks.Of3[any]("x", []int(nil), tasks.Of2(true, 0.5))}
	data, err := json.Marshal(in)
	if want := `{"P":[1,"a\"b"],"T":["x",null,[true,0.5]]}`; err != nil || string(data) != want {
		t.Fatalf("Marshal = %s, %v, want %s", data, err, want)
	}
	var out holder
	if err := json.Unmarshal([]byte(" { \"P\" : [ 1 , \"a\\u0022b\" ] ,\n\"T\": [\"x\",null,\t[ true,0.5] ] }"), &out); err != nil {
		t.Fatal(err)
	}
	if *out.P != *in.P || out.T.A != "x" || out.T.B != nil || out.T.C != in.T.C {
		t.Errorf("got %+v, want %+v", out, in)
	}
}

// UnmarshalJSON is exported, so it can meet what is no JSON at all.
func TestTuplesRefuseInvalidJSON(t *testing.T) {
	for _, data := range []string{
		"", " ", "[", "[1", "[1,", "[1,2", "1,2]", "[1,2]]", "[1,2] 3", "[1 2]", "[1,,2]", "[,1]", "[1,]", "[,]", "[1,2,]",
		"[1,2}", "{1,2]", "[[1,2]", "[1,tru]", "[1,02]", "[01,2]", "[-,2]", "[1,+2]", "[1.,2]", "[1,2e]", "[1,\"]", "[1,\"\\\"]",
		"[\"\x01\",1]", "[1,'2']", "nul", "null", "true", "[1,2]x", "x[1,2]", "[1,NaN]", "[1,\x00]", "\x00",
	} {
		var pair tasks.Args2[any, any]
		err := pair.UnmarshalJSON([]byte(data))
		if err == nil {
			t.Errorf("UnmarshalJSON(%q) = %v", data, pair)
		} else if _, ok := errors.AsType[*tasks.ArgError](err); !ok {
			t.Errorf("UnmarshalJSON(%q) = %T %v, want an *ArgError", data, err, err)
		}
		var ints tasks.Args2[int, float64]
		if err := ints.UnmarshalJSON([]byte(data)); err == nil {
			t.Errorf("UnmarshalJSON(%q) = %v", data, ints)
		}
	}
}

// decodeSlowly decodes an array of pairs by encoding/json alone.
func decodeSlowly[A, B any](data []byte) ([]tasks.Args2[A, B], bool) {
	var rows [][]json.RawMessage
	if json.Unmarshal(data, &rows) != nil {
		return nil, false
	}
	var out []tasks.Args2[A, B]
	if rows != nil {
		out = make([]tasks.Args2[A, B], len(rows))
	}
	for i, row := range rows {
		if len(row) != 2 || string(row[0]) == "null" || string(row[1]) == "null" || json.Unmarshal(row[0], &out[i].A) != nil || json.Unmarshal(row[1], &out[i].B) != nil {
			return nil, false
		}
	}
	return out, true
}

func fuzzPairs[A, B comparable](t *testing.T, data []byte) {
	t.Helper()
	want, wantOK := decodeSlowly[A, B](data)
	var got []tasks.Args2[A, B]
	err := tasks.JSON.Unmarshal(data, &got)
	if wantOK != (err == nil) {
		t.Fatalf("decoding %q: %v; encoding/json accepts it: %v", data, err, wantOK)
	}
	if err == nil && (!slices.Equal(got, want) || (got == nil) != (want == nil)) {
		t.Fatalf("decoding %q: got %#v, encoding/json %#v", data, got, want)
	}
}

func FuzzTupleDecoding(f *testing.F) {
	for _, seed := range []string{
		`[[1,"a"],[2,"b"]]`, `[]`, `null`, `[null]`, `[[1]]`, `[[1,"a",3]]`, ` [ [ 1 , "a" ] ] `, `[[9223372036854775807,"\u00e9"]]`,
		`[[9223372036854775808,"a"]]`, `[[-9223372036854775808,"größe"]]`, `[[1e2,"]"]]`, `[["x",1]]`, `[[0.5,true],[1e-7,false]]`,
		`[[null,null]]`, `[[1,"\\"],[2,"\""]]`, `[[[1],{"a":"]"}]]`, "[[1,\"\xff\"]]", `[[01,"a"]]`, `[[1,"a"]`, `[[-0,"a"]]`, `[[]]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzPairs[int, string](t, data)
		fuzzPairs[float64, bool](t, data)
		fuzzPairs[int64, int8](t, data)
		var any2 tasks.Args2[any, json.RawMessage]
		if err := any2.UnmarshalJSON(data); err == nil && !json.Valid(data) {
			t.Fatalf("accepted invalid JSON %q", data)
		}
	})
}
