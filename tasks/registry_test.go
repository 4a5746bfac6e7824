package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/distpool/distpool/tasks"
)

// Codes are never taken back, so each test uses its own, and in each run (go
// test -count) for the same errors or with a new prefix.
var (
	errA, errB, errShared = errors.New("a"), errors.New("b"), errors.New("shared")
	errFirst              = errors.New("first")
	errOuter, errInner    = errors.New("outer"), errors.New("inner")

	runs atomic.Int64
)

type sliceError []string

func (sliceError) Error() string { return "a slice of problems" }

type holdsAny struct{ v any }

func (holdsAny) Error() string { return "holds any" }

func TestCodesAreFoundInTheTree(t *testing.T) {
	a, b, unregistered := errA, errB, errors.New("c")
	tasks.RegisterError("tree.b", b)
	tasks.RegisterError("tree.a", a)
	tasks.RegisterError("tree.a2", a)
	for _, row := range []struct {
		err  error
		want []string
	}{
		{nil, nil},
		{unregistered, nil},
		{a, []string{"tree.a", "tree.a2"}},
		{fmt.Errorf("wrapped: %w", b), []string{"tree.b"}},
		{errors.Join(unregistered, b, tasks.Permanent(a)), []string{"tree.a", "tree.a2", "tree.b"}},
		{sliceError{"x"}, nil},
	} {
		if got := tasks.ErrorCodes(row.err); !slices.Equal(got, row.want) {
			t.Errorf("ErrorCodes(%v) = %q, want %q", row.err, got, row.want)
		}
	}
	for code, want := range map[string]error{"tree.a": a, "tree.a2": a, "tree.b": b} {
		if got, ok := tasks.ErrorForCode(code); got != want || !ok {
			t.Errorf("ErrorForCode(%q) = %v, %v", code, got, ok)
		}
	}
	for _, code := range []string{"", "tree", "tree.c", "zzz"} {
		if got, ok := tasks.ErrorForCode(code); got != nil || ok {
			t.Errorf("ErrorForCode(%q) = %v, %v", code, got, ok)
		}
	}
}

func TestContextErrorsAreNotRegistered(t *testing.T) {
	for _, err := range []error{context.Canceled, context.DeadlineExceeded} {
		if codes := tasks.ErrorCodes(err); codes != nil {
			t.Errorf("ErrorCodes(%v) = %q", err, codes)
		}
	}
}

func TestBadRegistrationsPanicWithTheRemedy(t *testing.T) {
	first := errFirst
	tasks.RegisterError("bad.taken", first)
	tasks.RegisterError("bad.taken", first) // the same pair is fine

	// Equal text is not equality.
	msg := panicMessage(t, func() { tasks.RegisterError("bad.taken", errors.New("first")) })
	wantContains(t, msg, "bad.taken", `"first"`, "use another code")
	if got, _ := tasks.ErrorForCode("bad.taken"); got != first {
		t.Errorf("the code now stands for %v", got)
	}
	wantContains(t, panicMessage(t, func() { tasks.RegisterError("bad.nil", nil) }), "bad.nil", "is nil")
	for _, target := range []error{sliceError{"x"}, holdsAny{[]int{1}}} {
		msg := panicMessage(t, func() { tasks.RegisterError("bad.type", target) })
		wantContains(t, msg, "bad.type", fmt.Sprintf("%T", target), "errors.New")
	}
	for _, code := range []string{"bad.nil", "bad.type"} {
		if _, ok := tasks.ErrorForCode(code); ok {
			t.Errorf("%q is registered in spite of the panic", code)
		}
	}
}

func TestRegistryServesManyGoroutines(t *testing.T) {
	shared, run := errShared, runs.Add(1)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				own := fmt.Errorf("own %d %d", g, i)
				code := fmt.Sprintf("many.%d.%d.%d", run, g, i)
				tasks.RegisterError(code, own)
				tasks.RegisterError("many.shared", shared)
				if got := tasks.ErrorCodes(errors.Join(own, shared)); !slices.Equal(got, []string{code, "many.shared"}) {
					t.Errorf("ErrorCodes = %q", got)
				}
				if got, ok := tasks.ErrorForCode(code); got != own || !ok {
					t.Errorf("ErrorForCode(%q) = %v, %v", code, got, ok)
				}
			}
		})
	}
	wg.Wait()
}

// registersInIs registers an error while ErrorCodes walks the registry.
type registersInIs struct{}

func (registersInIs) Error() string { return "registers" }
func (registersInIs) Is(error) bool {
	tasks.RegisterError("reentrant.inner", errInner)
	return false
}

func TestIsMethodsMayUseTheRegistry(t *testing.T) {
	tasks.RegisterError("reentrant.outer", errOuter)
	tasks.ErrorCodes(registersInIs{})
	if got, _ := tasks.ErrorForCode("reentrant.inner"); got != errInner {
		t.Errorf("ErrorForCode = %v", got)
	}
}
