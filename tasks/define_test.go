package tasks_test

import (
	"context"
	"errors"
	"testing"

	"github.com/distpool/distpool/tasks"
)

func TestNilFunctionsPanicWithTheRemedy(t *testing.T) {
	for where, f := range map[string]func(){
		"tasks.Define:":  func() { tasks.Define[int, int]("square", nil) },
		"tasks.Define2:": func() { tasks.Define2[int, int, int]("square", nil) },
		"tasks.Define3:": func() { tasks.Define3[int, int, int, int]("square", nil) },
	} {
		wantContains(t, panicMessage(t, f), where, `function of task "square" is nil`, "tasks.Declare")
	}
	wantContains(t, panicMessage(t, func() { tasks.WithCodec(nil) }), "codec is nil", "tasks.JSON")
}

func TestCallRunsTheFunctionHere(t *testing.T) {
	type key struct{}
	boom := errors.New("boom")
	task := tasks.Define("t", func(ctx context.Context, n int) (string, error) {
		if n < 0 {
			return "", boom
		}
		return ctx.Value(key{}).(string), nil
	})
	ctx := context.WithValue(t.Context(), key{}, "from ctx")
	if got, err := task.Call(ctx, 1); got != "from ctx" || err != nil {
		t.Errorf("Call = %q, %v", got, err)
	}
	if _, err := task.Call(ctx, -1); err != boom {
		t.Errorf("error = %v, want the function's own", err)
	}
}

func TestTuplesAreSpreadOverTheParameters(t *testing.T) {
	two := tasks.Define2("two", func(_ context.Context, a int, b string) (string, error) {
		return b[a:], nil
	})
	if got, err := two.Call(t.Context(), tasks.Of2(1, "abc")); got != "bc" || err != nil {
		t.Errorf("Call = %q, %v", got, err)
	}
	three := tasks.Define3("three", func(_ context.Context, a, b int, c string) (string, error) {
		return c[a:b], nil
	})
	if got, err := three.Call(t.Context(), tasks.Of3(1, 2, "abc")); got != "b" || err != nil {
		t.Errorf("Call = %q, %v", got, err)
	}
}

func TestDeclaredTasksHaveNoFunction(t *testing.T) {
	task := tasks.Declare[int, int]("far.away")
	if task.Defined() {
		t.Error("Defined() = true")
	}
	if !tasks.Define("here", double).Defined() {
		t.Error("Defined() = false for a defined task")
	}
	n, err := task.Call(t.Context(), 1)
	if n != 0 || err == nil {
		t.Fatalf("Call = %d, %v, want an error", n, err)
	}
	wantContains(t, err.Error(), `task "far.away" cannot be called here`, "only declared", "tasks.Define")
	wantContains(t, panicMessage(t, func() { tasks.Erase(task) }),
		`tasks.Erase: task "far.away" cannot be run here`, "only declared", "tasks.Define")
	wantContains(t, panicMessage(t, func() { tasks.Erase(nil) }), "task is nil")
}

func TestCodecDefaultsToJSON(t *testing.T) {
	if got := tasks.Define("t", double).Codec(); got != tasks.Codec(tasks.JSON) {
		t.Errorf("Codec() = %v", got)
	}
	other := namedCodec{tasks.JSON, "other"}
	task := tasks.Define("t", double, tasks.WithCodec(namedCodec{tasks.JSON, "first"}), tasks.WithCodec(other))
	if task.Codec() != tasks.Codec(other) {
		t.Errorf("Codec() = %v, want the one of the last option", task.Codec())
	}
	if erased := tasks.Erase(task); erased.Name() != "t" || erased.CodecName() != "other" {
		t.Errorf("Erase keeps %q, %q", erased.Name(), erased.CodecName())
	}
}

// Starmap and Run stand for their namesakes: what the constraint and the sealed
// interface must accept.
func starmap[A tasks.Tuple, R any](_ *tasks.Task[A, R], _ []A) {}
func run(...tasks.Runner)                                      {}

func TestTypesFitTheirUsers(*testing.T) {
	two := tasks.Define2("two", func(context.Context, int, string) (bool, error) { return true, nil })
	three := tasks.Define3("three", func(context.Context, int, string, []byte) (bool, error) { return true, nil })
	starmap(two, tasks.Zip2([]int{1}, []string{"a"}))
	starmap(three, []tasks.Args3[int, string, []byte]{tasks.Of3(1, "a", []byte(nil))})
	run(two, three, tasks.Define("one", double))
}
