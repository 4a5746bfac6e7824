package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/tasks"
)

// nested is an array within an array, and so on: depth of them.
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestAnArgumentNestedTooDeepFailsAlone(t *testing.T) {
	task := tasks.Define("any", func(_ context.Context, v any) (string, error) { return fmt.Sprintf("%.3v", v), nil })
	pair := tasks.Define2("pair", func(_ context.Context, _ any, n int) (int, error) { return n, nil })
	for what, c := range map[string]call.Chunk{
		"one argument": decode(t, task, `["[[",`+nested(10_001)+`,{"a":[1]}]`, 3),
		"an object":    decode(t, task, `[1,`+strings.Repeat(`{"\"]":`, 20_000)+"1"+strings.Repeat("}", 20_000)+`,2]`, 3),
		"a tuple":      decode(t, pair, `[[1,1],[`+nested(10_001)+`,2],["]",3]]`, 3),
	} {
		for i := range 3 {
			if err := runCall(t, c, i); (err != nil) != (i == 1) {
				t.Errorf("%s: call %d = %.100v", what, i, err)
			}
		}
		wantContains(t, runCall(t, c, 1).Error(), "nested deeper than the 10000 levels")
	}
	// As deep as encoding/json reads it by itself, and too deep within an array.
	if c := decode(t, task, `[1,`+nested(10_000)+`]`, 2); runCall(t, c, 0) != nil || runCall(t, c, 1) != nil {
		t.Error("10,000 levels are too deep")
	}
	// Damage is no depth.
	if _, err := decoded(task, `[1,`+nested(10_001)+`,x]`, 3); err == nil {
		t.Error("an array that is no JSON is taken apart")
	}
}

func TestAValueThatCannotBeDecodedSpoilsOnlyItsPlace(t *testing.T) {
	values := []any{9, 9, 9}
	bad, err := tasks.DecodeEach(identity[any](), []byte(`["a",`+nested(10_001)+`,"c"]`), values)
	if err != nil || len(bad) != 1 || bad[1] == nil || values[0] != "a" || values[1] != nil || values[2] != "c" {
		t.Errorf("too deep: %v, %v; %.50v", bad, err, values)
	}
	colors := make([]color, 3)
	bad, err = tasks.DecodeEach(identity[color](), []byte(`["red","none","blue"]`), colors)
	if err != nil || len(bad) != 1 || !errors.Is(bad[1], errNoColor) || colors[2].name != "blue" || colors[1].name != "" {
		t.Errorf("an unknown name: %v, %v; %v", bad, err, colors)
	}
	// A codec that cannot split: each call, and no error of all.
	gobbed := identity[int](tasks.WithCodec(gobCodec{}))
	data, err := identity[string](tasks.WithCodec(gobCodec{})).EncodeArgs([]string{"x", "y"})
	if err != nil {
		t.Fatal(err)
	}
	if bad, err := tasks.DecodeEach(gobbed, data, make([]int, 2)); err != nil || len(bad) != 2 {
		t.Errorf("gob: %v, %v", bad, err)
	}
	for _, data := range []string{"[1,2]", "[1,2", "null", `{"a":1}`, "[1,2,3]x"} {
		if bad, err := tasks.DecodeEach(identity[int](), []byte(data), make([]int, 3)); err == nil {
			t.Errorf("%s: %v, want an error of the whole array", data, bad)
		}
	}
}

// It is kept as it is, for the producer to say so.
func TestASavedValueThatCannotBeDecodedCostsItsOwnCall(t *testing.T) {
	for task, saved := range map[tasks.Runner]string{identity[color](): `"none"`, identity[any](): nested(10_001)} {
		c := decode(t, task, `["red","red","blue"]`, 3)
		if bad, err := c.Restore([]byte(`["blue",`+saved+`,"green"]`), func(i int) bool { return i < 2 }, 0); bad != nil || err != nil {
			t.Errorf("Restore: %v, %v", bad, err)
		}
		values, bad := c.Encode(func(i int) bool { return i == 2 }, 0)
		if len(bad) > 0 || !strings.HasPrefix(string(values), `["blue",`+saved+`,`) {
			t.Errorf("values %.50s, %v", values, bad)
		}
	}
}
