package guard_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/distpool/distpool/internal/guard"
)

// described is a value with a String that misbehaves.
type described func() string

func (d described) String() string { return d() }

// again panics with itself while it is described.
type again struct{}

func (a again) String() string { panic(a) }

// Methods of a panic's value end no goroutine and hold up no caller, also where the code
// under guard may take as long as it likes.
func TestAPanicEndsWhateverItsValueDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		may := make(chan struct{})
		for name, v := range map[string]any{
			"blocks": described(func() string { <-may; return "" }),
			"Goexit": described(func() string { runtime.Goexit(); return "" }),
			"itself": again{},
		} {
			err := guard.Apart(context.Background(), func() error { panic(v) })
			if p, ok := err.(*guard.Panic); !ok || !strings.Contains(err.Error(), "that cannot be described") {
				t.Errorf("%s: %v", name, err)
			} else if len(p.Stack) == 0 {
				t.Errorf("%s: no stack", name)
			}
		}
		close(may)
	})
}
