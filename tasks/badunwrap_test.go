package tasks_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/distpool/distpool/tasks"
)

// unwraps is an error of MarshalJSON with an Unwrap that misbehaves.
type unwraps struct{ how string }

func (unwraps) Error() string { return "no such form" }
func (u unwraps) Unwrap() error {
	switch u.how {
	case "panic":
		panic("in Unwrap")
	case "goexit":
		runtime.Goexit()
	case "block":
		select {}
	}
	return context.Canceled
}

type unwrapped struct{ how string }

func (u unwrapped) MarshalJSON() ([]byte, error) { return nil, unwraps(u) }

// The error of an argument has methods of the user's, which must not harm the caller of
// the submission.
func TestAnEncodingErrorWithABadUnwrapIsAnErrorOfItsArgument(t *testing.T) {
	two := tasks.Define2("two", func(context.Context, int, unwrapped) (int, error) { return 0, nil })
	one := tasks.Define("one", func(context.Context, unwrapped) (int, error) { return 0, nil })
	for _, how := range []string{"panic", "goexit", "block", ""} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		for arg, encode := range []func() ([]byte, error){
			func() ([]byte, error) { return tasks.EncodeFor(ctx, one, []unwrapped{{how}}) },
			nil,
			func() ([]byte, error) {
				return tasks.EncodeFor(ctx, two, []tasks.Args2[int, unwrapped]{tasks.Of2(1, unwrapped{how})})
			},
		} {
			if encode == nil {
				continue
			}
			_, err := encode()
			ae, ok := errors.AsType[*tasks.ArgError](err)
			if !ok || ae.Arg != arg || ae.Call != 0 {
				t.Fatalf("%s: %v; want an *ArgError of argument %d", how, err, arg)
			}
			wantContains(t, err.Error(), "no such form")
			if how == "block" { // errors.Is would wait for it
				continue
			}
			if is := errors.Is(err, context.Canceled); is != (how == "") {
				t.Errorf("%s: errors.Is finds what is wrapped: %t", how, is)
			}
			var u unwraps
			if !errors.As(err, &u) || u.how != how {
				t.Errorf("%s: errors.As finds %+v", how, u)
			}
		}
		cancel()
		if ctx.Err() == context.DeadlineExceeded {
			t.Errorf("%s: it took until the end of the context", how)
		}
	}
}

// A mark is found before what it wraps is asked.
func TestAMarkIsFoundInFrontOfABadUnwrap(t *testing.T) {
	err := tasks.RetryAfter(unwraps{"panic"}, time.Second)
	if !tasks.IsPermanent(tasks.Permanent(err)) {
		t.Error("a mark is not found")
	}
}
