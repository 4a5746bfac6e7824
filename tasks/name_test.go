package tasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/distpool/distpool/tasks"
)

// panicMessage runs f and returns what it panics with, which must be a string.
func panicMessage(t *testing.T, f func()) (msg string) {
	t.Helper()
	defer func() {
		t.Helper()
		p := recover()
		if p == nil {
			t.Fatal("did not panic")
		}
		var ok bool
		if msg, ok = p.(string); !ok {
			t.Fatalf("panicked with %T %v, want a message", p, p)
		}
	}()
	f()
	return ""
}

func wantContains(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%q does not contain %q", got, part)
		}
	}
}

func double(_ context.Context, n int) (int, error) { return 2 * n, nil }

func TestNamesThatAreAllowed(t *testing.T) {
	for _, name := range []string{
		"a", "7", "square", "Shop.Orders:refund/v2", "a_b-c", "0123", "trailing-", strings.Repeat("x", 200),
	} {
		if got := tasks.Define(name, double).Name(); got != name {
			t.Errorf("Name() = %q, want %q", got, name)
		}
		if got := tasks.Declare[int, int](name).Name(); got != name {
			t.Errorf("Name() = %q, want %q", got, name)
		}
	}
}

func TestBadNamesPanicWithTheRemedy(t *testing.T) {
	const remedy = "use 1 to 200 ASCII letters, digits and . _ : / - and start with a letter or a digit"
	for _, row := range []struct{ name, want string }{
		{"", "is empty"},
		{" square", `" square" starts with ' '`},
		{"-square", `"-square" starts with '-'`},
		{".hidden", `".hidden" starts with '.'`},
		{"my task", `"my task" has ' ' at byte 2`},
		{"a\x00b", `"a\x00b" has '\x00' at byte 1`},
		{"größe", `"größe" has 'ö' at byte 2`},
		{"été", `"été" starts with 'é'`},
		{"job{1}", `"job{1}" has '{' at byte 3`},
		{"a\n", `"a\n" has '\n' at byte 1`},
		{strings.Repeat("y", 201), "has 201 bytes"},
	} {
		for where, f := range map[string]func(){
			"tasks.Define:":  func() { tasks.Define(row.name, double) },
			"tasks.Declare:": func() { tasks.Declare[int, int](row.name) },
			"tasks.Define2:": func() {
				tasks.Define2(row.name, func(context.Context, int, int) (int, error) { return 0, nil })
			},
			"tasks.Define3:": func() {
				tasks.Define3(row.name, func(context.Context, int, int, int) (int, error) { return 0, nil })
			},
			"tasks.RegisterError:": func() { tasks.RegisterError(row.name, errors.New("x")) },
			"tasks.WithCodec:":     func() { tasks.WithCodec(namedCodec{tasks.JSON, row.name}) },
		} {
			wantContains(t, panicMessage(t, f), where, row.want, remedy)
		}
	}
}

// namedCodec is a codec under another name.
type namedCodec struct {
	tasks.Codec
	name string
}

func (c namedCodec) Name() string { return c.name }
