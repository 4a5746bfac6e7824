package tasks_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/distpool/distpool/tasks"
)

type unexported struct {
	Shown  string
	hidden string
	Dash   string `json:"-"`
}

type rawText struct{ text string }

func (r rawText) MarshalText() ([]byte, error) { return []byte(r.text), nil }

func TestJSONRefusesWhatItCannotCarry(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	const bad = "a\xffb"
	const utf8Remedy = `string "a\xffb" is not valid UTF-8, which JSON cannot carry; use []byte`
	for name, row := range map[string]struct {
		v    any
		want string
	}{
		"NaN":              {math.NaN(), "cannot encode NaN as JSON"},
		"infinity":         {[]float64{1, math.Inf(-1)}, "cannot encode -Inf as JSON"},
		"channel":          {struct{ C chan int }{}, "cannot encode chan int as JSON"},
		"function":         {func() {}, "cannot encode func() as JSON"},
		"complex":          {1i, "cannot encode complex128 as JSON"},
		"cycle":            {cycle, "cannot encode as JSON: encountered a cycle"},
		"broken raw":       {json.RawMessage("{"), "unexpected end of JSON input"},
		"number":           {json.Number("1x"), `"1x"`},
		"text":             {bad, utf8Remedy},
		"text in slice":    {[]string{"ok", bad}, utf8Remedy},
		"text in array":    {[2]string{"ok", bad}, utf8Remedy},
		"text in any":      {[]any{1, bad}, utf8Remedy},
		"text in pointer":  {new(bad), utf8Remedy},
		"text in map":      {map[string]string{"k": bad}, utf8Remedy},
		"text as key":      {map[string]int{bad: 1}, utf8Remedy},
		"text in struct":   {[]unexported{{Shown: "\ufffd"}, {Shown: bad}}, utf8Remedy},
		"text in tuple":    {tasks.Of2(1, bad), utf8Remedy},
		"text in tuples":   {[]tasks.Args2[int, string]{tasks.Of2(1, bad)}, utf8Remedy},
		"text next to raw": {[]any{json.RawMessage(`"\ufffd"`), bad}, utf8Remedy},
		"raw text":         {json.RawMessage("\"\xff\""), "raw JSON is not valid UTF-8"},
	} {
		data, err := tasks.JSON.Marshal(row.v)
		if err == nil {
			t.Errorf("%s: Marshal = %s, want an error", name, data)
			continue
		}
		wantContains(t, err.Error(), row.want)
	}
}

func TestJSONCarriesTheReplacementCharacter(t *testing.T) {
	for name, v := range map[string]any{
		"character":     "\ufffd",
		"escape":        `\ufffd`,
		"raw escape":    json.RawMessage(`"\ufffd"`),
		"own encoding":  rawText{"\xff"},
		"not travelled": []any{json.RawMessage(`"\ufffd"`), unexported{hidden: "\xff", Dash: "\xff"}},
		"bytes":         []any{json.RawMessage(`"\ufffd"`), []byte("\xff")},
	} {
		if _, err := tasks.JSON.Marshal(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJSONDoesNotEscapeForHTML(t *testing.T) {
	type page struct{ Body string }
	for want, v := range map[string]any{
		`{"Body":"<a href='x'>&</a>"}`: page{"<a href='x'>&</a>"},
		`["<&>",1]`:                    tasks.Of2("<&>", 1),
		`[["<&>","\""]]`:               []tasks.Args2[string, string]{tasks.Of2("<&>", `"`)},
		`{"raw":"<&>"}`:                json.RawMessage(` { "raw" : "<&>" } `),
	} {
		if data, err := tasks.JSON.Marshal(v); err != nil || string(data) != want {
			t.Errorf("Marshal(%#v) = %s, %v, want %s", v, data, err, want)
		}
	}
}

func TestJSONRefusesWhatIsNotOneValue(t *testing.T) {
	for _, data := range []string{"", " ", "1 2", "1,", "[1]]", "[1] x", "{}{}", "nul", "[1,2", "[1,]", "01"} {
		for name, v := range map[string]any{
			"any":     new(any),
			"ints":    new([]int),
			"floats":  new([]float64),
			"raw":     new(json.RawMessage),
			"struct":  new(struct{ A int }),
			"struct2": new(struct{ A any }),
			"tuples":  new([]tasks.Args2[int, int]),
		} {
			if err := tasks.JSON.Unmarshal([]byte(data), v); err == nil {
				t.Errorf("%s: Unmarshal(%q) succeeded", name, data)
			}
		}
	}
}

func TestJSONUnmarshalNeedsAVariable(t *testing.T) {
	for _, v := range []any{nil, 1, []int{1}, (*int)(nil), (*[]int)(nil), (*[]tasks.Args2[int, int])(nil), []tasks.Args2[int, int]{{}}} {
		if err := tasks.JSON.Unmarshal([]byte("[]"), v); err == nil {
			t.Errorf("Unmarshal into %#v succeeded", v)
		}
	}
}

func TestJSONSplitAndJoinAreOpposites(t *testing.T) {
	for _, data := range []string{"[]", "[1]", `[1,"a,b",[2,[3]],{"a":[]},null]`} {
		items, err := tasks.JSON.Split([]byte(data))
		if err != nil {
			t.Fatalf("Split(%s) = %v", data, err)
		}
		if got, err := tasks.JSON.Join(items); err != nil || string(got) != data {
			t.Errorf("Join(Split(%s)) = %s, %v", data, got, err)
		}
	}
	for _, data := range []string{"", "null", "1", "{}", `"[]"`, "[1", "[1,]", "[] []"} {
		if items, err := tasks.JSON.Split([]byte(data)); err == nil {
			t.Errorf("Split(%s) = %q", data, items)
		}
	}
}

// A slice type with a name may encode itself, whatever its items are.
type ownSlice []tasks.Args2[int, int]

func (ownSlice) MarshalJSON() ([]byte, error)    { return []byte(`"own"`), nil }
func (s *ownSlice) UnmarshalJSON(d []byte) error { *s = ownSlice{tasks.Of2(len(d), 0)}; return nil }

func TestJSONLeavesSlicesWithMethodsAlone(t *testing.T) {
	if data, err := tasks.JSON.Marshal(ownSlice{tasks.Of2(1, 2)}); err != nil || string(data) != `"own"` {
		t.Errorf("Marshal = %s, %v", data, err)
	}
	var s ownSlice
	if err := tasks.JSON.Unmarshal([]byte("[[1,2]]"), &s); err != nil || s[0].A != 7 {
		t.Errorf("Unmarshal = %v, %v", s, err)
	}
}

func TestJSONTellsNilFromEmpty(t *testing.T) {
	type P = tasks.Args2[int, int]
	for want, v := range map[string]any{"null": []P(nil), "[]": []P{}} {
		if data, err := tasks.JSON.Marshal(v); err != nil || string(data) != want {
			t.Errorf("Marshal(%#v) = %s, %v", v, data, err)
		}
		if data, err := tasks.JSON.Marshal(new(v.([]P))); err != nil || string(data) != want {
			t.Errorf("Marshal(&%#v) = %s, %v", v, data, err)
		}
		got := []P{{1, 2}}
		if err := tasks.JSON.Unmarshal([]byte(want), &got); err != nil || (got == nil) != (want == "null") || len(got) != 0 {
			t.Errorf("Unmarshal(%s) = %#v, %v", want, got, err)
		}
	}
	if data, err := tasks.JSON.Marshal((*[]P)(nil)); err != nil || string(data) != "null" {
		t.Errorf("Marshal of a nil pointer = %s, %v", data, err)
	}
	if data, err := tasks.JSON.Marshal(nil); err != nil || string(data) != "null" {
		t.Errorf("Marshal(nil) = %s, %v", data, err)
	}
}
