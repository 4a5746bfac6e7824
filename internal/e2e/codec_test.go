package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// grade is a value of which a worker knows one more than its producer.
type grade int

var errGrade = errors.New("unknown grade")

func (g grade) MarshalText() ([]byte, error) { return []byte([]string{"low", "new", "high"}[g]), nil }

func (g *grade) UnmarshalText(b []byte) error {
	i := slices.Index([]string{"low", "", "high"}, string(b))
	if i < 0 {
		return fmt.Errorf("%w %q", errGrade, b)
	}
	*g = grade(i)
	return nil
}

type line struct{ Text []byte }

var (
	grading = tasks.Define("codec.grade", func(_ context.Context, n int) (grade, error) {
		if n < 0 {
			return 0, errStock
		}
		return grade(n % 3), nil
	})
	gradeSealed = tasks.Define("codec.grade.sealed", func(_ context.Context, n int) (grade, error) { return grade(n % 3), nil }, encrypted(sealed1))
	kind        = tasks.Define("codec.kind", func(_ context.Context, v any) (string, error) { return fmt.Sprintf("%.20v", v), nil })
	deepen      = tasks.Define("codec.deepen", func(_ context.Context, n int) (v any, _ error) {
		for range n {
			v = []any{v}
		}
		return v, nil
	})
	textOf  = tasks.Define("codec.text", func(_ context.Context, b []byte) (string, error) { return string(b), nil })
	lineOf  = tasks.Define("codec.line", func(_ context.Context, l *line) (string, error) { return string(l.Text), nil })
	pairOf  = tasks.Define2("codec.pair", func(_ context.Context, l line, n int) (string, error) { return fmt.Sprint(string(l.Text), n), nil })
	anyOf   = tasks.Define("codec.any", func(_ context.Context, m map[string]any) (string, error) { return fmt.Sprint(m["text"]), nil })
	rawOf   = tasks.Define("codec.raw", func(_ context.Context, r json.RawMessage) (string, error) { return string(r), nil })
	intsOf  = tasks.Define("codec.ints", func(_ context.Context, n []int) (int, error) { return n[0], nil })
	bytesOf = tasks.Define("codec.array", func(_ context.Context, a [2]*int) (int, error) { return *a[0], nil })
)

func init() {
	allTasks = append(allTasks, grading, gradeSealed, kind, deepen, textOf, lineOf, pairOf, anyOf, rawOf, intsOf, bytesOf)
}

// reused yields 0 to n-1 by way of one variable, which it overwrites at once when it
// is asked for the next one.
func reused[A any](n int, v A, set func(i int)) iter.Seq[A] {
	return func(yield func(A) bool) {
		for i := range n {
			set(i)
			if !yield(v) {
				return
			}
			set(-1)
		}
	}
}

func arrives[A, R comparable](t *testing.T, what string, s iter.Seq2[R, error], want func(i int) R) {
	t.Helper()
	i := 0
	for v, err := range s {
		if err != nil || v != want(i) {
			t.Errorf("%s: call %d came as %v, %v; want %v", what, i, v, err, want(i))
			return
		}
		i++
	}
	if i != reuses {
		t.Errorf("%s: %d values", what, i)
	}
}

const reuses = 500

func TestAStreamsInputMayReuseItsMemory(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		text := func(i int) string { return fmt.Sprintf("line %04d", i) }
		buf := []byte(text(0))
		fill := func(i int) {
			copy(buf, text(max(i, 0)))
			if i < 0 {
				copy(buf, "changed!!")
			}
		}

		var file strings.Builder
		for i := range reuses {
			fmt.Fprintln(&file, text(i))
		}
		scanner := bufio.NewScanner(strings.NewReader(file.String()))
		arrives[string](t, "Scanner.Bytes", producer.IMap(ctx(t), p, textOf, func(yield func([]byte) bool) {
			for more := true; more && scanner.Scan(); {
				more = yield(scanner.Bytes())
			}
		}), text)
		arrives[string](t, "one buffer", producer.IMap(ctx(t), p, textOf, reused(reuses, buf, fill), producer.ChunkSize(7)), text)
		one := &line{buf}
		arrives[string](t, "one pointer", producer.IMap(ctx(t), p, lineOf, reused(reuses, one, fill)), text)
		arrives[string](t, "a tuple", producer.IMap(ctx(t), p, pairOf, reused(reuses, tasks.Of2(*one, 1), fill)),
			func(i int) string { return fmt.Sprint(text(i), 1) })
		m := map[string]any{}
		arrives[string](t, "one map", producer.IMap(ctx(t), p, anyOf, reused(reuses, m, func(i int) { m["text"] = text(i) })), text)
		raw := json.RawMessage(`"line 0000"`)
		arrives[string](t, "raw JSON", producer.IMap(ctx(t), p, rawOf, reused(reuses, raw, func(i int) { copy(raw[1:], text(max(i, 0))) })),
			func(i int) string { return fmt.Sprintf("%q", text(i)) })
		ints := []int{0}
		arrives[int](t, "one slice", producer.IMap(ctx(t), p, intsOf, reused(reuses, ints, func(i int) { ints[0] = i })), func(i int) int { return i })
		number := 0
		arrives[int](t, "pointers in an array", producer.IMap(ctx(t), p, bytesOf, reused(reuses, [2]*int{&number}, func(i int) { number = i })),
			func(i int) int { return i })

		seen := map[string]bool{}
		for v, err := range producer.IMapUnordered(ctx(t), p, textOf, reused(reuses, buf, fill)) {
			if err != nil {
				t.Fatal(err)
			}
			seen[v] = true
		}
		if len(seen) != reuses || seen["changed!!"] {
			t.Errorf("IMapUnordered: %d different values", len(seen))
		}
		for i, o := range producer.IMapAsCompleted(ctx(t), p, textOf, reused(reuses, buf, fill)) {
			if o.Err != nil || o.Value != text(i) {
				t.Fatalf("IMapAsCompleted: call %d came as %q, %v", i, o.Value, o.Err)
			}
		}
	})
}

// It does so also when the input changes it before the argument is sent.
func TestAnArgumentThatCannotBeEncodedEndsItsStreamThere(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		all, one := []any{1, "x", func() {}, 2}, []any{nil}
		input := reused(len(all), any(one), func(i int) {
			one[0] = "changed"
			if i >= 0 {
				one[0] = all[i]
			}
		})
		var got []string
		var last error
		for v, err := range producer.IMap(ctx(t), e.pool(t), kind, input) {
			if err != nil {
				last = err
				continue
			}
			got = append(got, v)
		}
		if ae, ok := errors.AsType[*tasks.ArgError](last); !ok || ae.Call != 2 || !slices.Equal(got, []string{"[1]", "[x]"}) {
			t.Errorf("got %q and %v", got, last)
		}
	})
}

func TestNullForARequiredArgumentFailsItsCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		raw := tasks.Declare[json.RawMessage, json.RawMessage](square.Name())
		values, err := producer.Map(ctx(t), p, raw, []json.RawMessage{[]byte("1"), []byte("null"), []byte("3")}, producer.ChunkSize(3))
		failed := failedCalls(t, err, 1)
		if string(values[0]) != "1" || string(values[2]) != "9" || failed[0].Kind != results.KindBadArgument {
			t.Errorf("values %s, %+v", values, failed)
		}
		mentions(t, err, `argument of "square"`, "null")
		_, err = producer.Apply(ctx(t), p, tasks.Declare[json.RawMessage, int](add.Name()), json.RawMessage("[1,null]"))
		mentions(t, err, `arg 2 of "add"`, "null")
	})
}

// failedCalls are the failed calls of a map, which must be these.
func failedCalls(t *testing.T, err error, calls ...int) []*results.TaskError {
	t.Helper()
	m, ok := errors.AsType[*results.MapError](err)
	if !ok {
		t.Fatalf("the map ended with %v, want a *MapError", err)
	}
	var got []int
	for _, e := range m.Errors {
		got = append(got, e.Call)
	}
	if !slices.Equal(got, calls) {
		t.Fatalf("calls %v failed, want %v: %.300v", got, calls, err)
	}
	return m.Errors
}

// nestedValue is that many arrays, one in the other.
func nestedValue(depth int) (v any) {
	for range depth {
		v = []any{v}
	}
	return v
}

func TestWhatIsNestedTooDeepCostsItsOwnCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		// Arguments, in one chunk.
		values, err := producer.Map(ctx(t), p, kind, []any{1, nestedValue(10_001), "x", nestedValue(9_000)}, producer.ChunkSize(4))
		failed := failedCalls(t, err, 1)
		if values[0] != "1" || values[2] != "x" || values[3] == "" || failed[0].Kind != results.KindBadArgument {
			t.Errorf("values %q, %v", values, failed)
		}
		// Values.
		m, err := producer.MapAsync(ctx(t), p, deepen, []int{0, 10_001, 1, 9_000}, producer.ChunkSize(4))
		if err != nil {
			t.Fatal(err)
		}
		deep, err := m.Get(ctx(t))
		failedCalls(t, err, 1)
		if deep[0] != nil || deep[1] != nil || fmt.Sprint(deep[2]) != "[<nil>]" || deep[3] == nil {
			t.Errorf("values %.100v", deep)
		}
		n := 0
		for _, err := range producer.IMap(ctx(t), p, deepen, slices.Values([]int{0, 10_001, 1}), producer.ChunkSize(3)) {
			if (err != nil) != (n == 1) {
				t.Errorf("stream, call %d: %.200v", n, err)
			}
			n++
		}
		if n != 3 {
			t.Errorf("the stream yielded %d pairs", n)
		}
	})
}

func TestAValueThatCannotBeDecodedCostsItsOwnCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		args := []int{0, 1, 2, -1, 0, 1, 2}
		undecodable := func(what string, i int, err error) {
			t.Helper()
			if te, ok := errors.AsType[*results.TaskError](err); !ok || te.Call != i || te.Kind != results.KindBadResult || !errors.Is(err, errGrade) {
				t.Errorf("%s: call %d failed with %v", what, i, err)
			}
			mentions(t, err, `unknown grade "new"`)
		}
		// follows checks the outcomes of the calls, which come in any order.
		follows := func(what string, outcomes iter.Seq2[int, results.Outcome[grade]]) {
			t.Helper()
			n := 0
			for i, o := range outcomes {
				switch {
				case i < 0:
					t.Errorf("%s ended with %v", what, o.Err)
				case args[i] == 1:
					undecodable(what, i, o.Err)
				case args[i] == -1:
					if !errors.Is(o.Err, errStock) {
						t.Errorf("%s: call %d: %v", what, i, o.Err)
					}
				case o.Err != nil || int(o.Value) != args[i]:
					t.Errorf("%s: call %d: %+v", what, i, o)
				}
				n++
			}
			if n != len(args) {
				t.Errorf("%s: %d outcomes", what, n)
			}
		}
		inOrder := func(s iter.Seq2[grade, error]) iter.Seq2[int, results.Outcome[grade]] {
			return func(yield func(int, results.Outcome[grade]) bool) {
				i := 0
				for v, err := range s {
					if !yield(i, results.Outcome[grade]{Value: v, Err: err}) {
						return
					}
					i++
				}
			}
		}
		for _, size := range []int{1, 3, 7} {
			m, err := producer.MapAsync(ctx(t), p, grading, args, producer.ChunkSize(size))
			if err != nil {
				t.Fatal(err)
			}
			values, err := m.Get(ctx(t))
			failed := failedCalls(t, err, 1, 3, 5)
			undecodable("Get", 1, failed[0])
			if !slices.Equal(values, []grade{0, 0, 2, 0, 0, 0, 2}) {
				t.Errorf("values %v", values)
			}
			follows("All", inOrder(m.All(ctx(t))))
			follows("AsCompleted", m.AsCompleted(ctx(t)))
			follows("IMap", inOrder(producer.IMap(ctx(t), p, grading, slices.Values(args), producer.ChunkSize(size))))
			follows("IMapAsCompleted", producer.IMapAsCompleted(ctx(t), p, grading, slices.Values(args), producer.ChunkSize(size)))
			if ok, err := m.Successful(); ok || err != nil {
				t.Errorf("Successful = %t, %v", ok, err)
			}
			again, err := producer.RetryFailed(ctx(t), p, grading, m.ID())
			if err != nil || !slices.Equal(again.Calls, []int{3}) || !slices.Equal(again.Gone, []int{1, 5}) {
				t.Errorf("RetryFailed = %+v, %v; want call 3, and 1 and 5 gone", again, err)
			}
		}
		r, err := producer.ApplyAsync(ctx(t), p, grading, 1)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		r.OnError(func(err error) { failed <- err })
		_, err = r.Get(ctx(t))
		undecodable("Apply", 0, err)
		undecodable("OnError", 0, receive(t, "OnError", failed))
		if _, err = producer.RetryFailed(ctx(t), p, grading, r.ID()); !errors.Is(err, producer.ErrArgumentsGone) {
			t.Errorf("RetryFailed of a call whose value cannot be decoded: %v", err)
		}
		if r, err = producer.Attach(ctx(t), e.pool(t), grading, r.ID()); err != nil {
			t.Fatal(err)
		}
		_, err = r.Get(ctx(t))
		undecodable("Attach", 0, err)

		sealed, err := producer.Map(ctx(t), p, gradeSealed, []int{0, 1, 2})
		failedCalls(t, err, 1)
		if !slices.Equal(sealed, []grade{0, 0, 2}) {
			t.Errorf("encrypted: %v", sealed)
		}
	})
}

type sourceError struct{ row int }

func (e *sourceError) Error() string { return fmt.Sprintf("row %d is torn", e.row) }

func TestAStreamsErrorWrapsWhatItsInputPanickedWith(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		for _, v := range []any{&sourceError{7}, fmt.Errorf("reading: %w", &sourceError{7})} {
			err := lastError(producer.IMap(ctx(t), p, square, func(yield func(int) bool) {
				_ = yield(1) && yield(2)
				panic(v)
			}))
			if se, ok := errors.AsType[*sourceError](err); !ok || se.row != 7 || !errors.Is(err, v.(error)) {
				t.Errorf("the stream ended with %v", err)
			}
			mentions(t, err, "the input panicked: ", "row 7 is torn")
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "goroutine") {
				t.Errorf("a stack is in the message: %v", err)
			}
		}
		mentions(t, errors.New(e.log.String()), "the input of a stream panicked", "TestAStreamsErrorWrapsWhatItsInputPanickedWith")
		err := lastError(producer.IMap(ctx(t), p, square, func(func(int) bool) { panic("torn") }))
		if want := `stream of task "square": the input panicked: torn`; err == nil || err.Error() != want {
			t.Errorf("the stream ended with %v, want %s", err, want)
		}
	})
}

func TestThePoolAndItsHandlesAreNoArguments(t *testing.T) {
	refused := func(what string, declare func()) {
		t.Helper()
		defer func() {
			p := recover()
			if p == nil {
				t.Errorf("%s is accepted", what)
				return
			}
			mentions(t, fmt.Errorf("%v", p), `"handles"`, what, "cannot travel")
		}()
		declare()
	}
	refused("producer.Pool", func() { tasks.Declare[*producer.Pool, int]("handles") })
	refused("producer.Pool", func() { tasks.Declare[struct{ Pool *producer.Pool }, int]("handles") })
	refused("results.AsyncResult", func() { tasks.Declare[[]*results.AsyncResult[int], int]("handles") })
	refused("results.MapResult", func() { tasks.Declare[int, *results.MapResult[string]]("handles") })
	refused("results.MapResult", func() { tasks.Declare[tasks.Args2[int, *producer.Retried[int]], int]("handles") })
	_, err := tasks.Declare[any, int]("handles").EncodeArgs([]any{map[string]any{"pool": &producer.Pool{}}})
	mentions(t, err, `argument of "handles"`, "producer.Pool", "cannot travel")
}
