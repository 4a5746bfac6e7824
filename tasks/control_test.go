package tasks_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/distpool/distpool/tasks"
)

func TestMarksOnNilAreNil(t *testing.T) {
	if err := tasks.Permanent(nil); err != nil {
		t.Errorf("Permanent(nil) = %v", err)
	}
	if err := tasks.RetryAfter(nil, time.Second); err != nil {
		t.Errorf("RetryAfter(nil, 1s) = %v", err)
	}
	if tasks.IsPermanent(nil) {
		t.Error("IsPermanent(nil)")
	}
	if _, ok := tasks.RetryDelay(nil); ok {
		t.Error("RetryDelay(nil) is set")
	}
}

func TestMarksKeepTheErrorVisible(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}
	for _, err := range []error{
		tasks.Permanent(cause),
		tasks.RetryAfter(cause, time.Second),
		tasks.Permanent(tasks.RetryAfter(cause, time.Second)),
	} {
		if err.Error() != cause.Error() {
			t.Errorf("message %q, want %q", err, cause)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("errors.Is does not see through %T", err)
		}
		if got, ok := errors.AsType[*fs.PathError](err); !ok || got != cause {
			t.Errorf("errors.As does not see through %T", err)
		}
	}
}

func TestMarksAreReadFromAnywhereInTheTree(t *testing.T) {
	plain := errors.New("plain")
	permanent := tasks.Permanent(plain)
	later := tasks.RetryAfter(plain, 3*time.Second)
	type row struct {
		err       error
		permanent bool
		delay     time.Duration
		retry     bool
	}
	for name, row := range map[string]row{
		"plain":             {err: plain},
		"permanent":         {err: permanent, permanent: true},
		"permanent wrapped": {err: fmt.Errorf("a: %w", permanent), permanent: true},
		"permanent joined":  {err: errors.Join(plain, permanent), permanent: true},
		"later":             {err: later, delay: 3 * time.Second, retry: true},
		"later wrapped":     {err: fmt.Errorf("a: %w", later), delay: 3 * time.Second, retry: true},
		"later twice":       {err: tasks.RetryAfter(later, time.Minute), delay: time.Minute, retry: true},
		"later negative":    {err: tasks.RetryAfter(plain, -1), delay: 0, retry: true},
		"both":              {err: errors.Join(later, permanent), permanent: true},
		"both, nested":      {err: tasks.RetryAfter(permanent, time.Second), permanent: true},
	} {
		if got := tasks.IsPermanent(row.err); got != row.permanent {
			t.Errorf("%s: IsPermanent = %v", name, got)
		}
		if d, ok := tasks.RetryDelay(row.err); d != row.delay || ok != row.retry {
			t.Errorf("%s: RetryDelay = %v, %v, want %v, %v", name, d, ok, row.delay, row.retry)
		}
	}
}
