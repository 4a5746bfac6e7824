package tasks

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/guard"
)

// mostErrors is how many errors of a tree are looked at: an Unwrap may return its own
// error.
const mostErrors = 1000

// errorTree is a tree of errors that is being walked, in the order in which errors.Is
// looks at it. Of very large ones, and endless ones, the beginning is.
type errorTree struct {
	errs []error // walked
	rest []error // to walk, the next one last
	open bool    // Unwrap of the last of errs has not been called
}

func newTree(err error) *errorTree { return &errorTree{rest: []error{err}} }

// grow walks to the next error. It calls Unwrap of the one before, which counts as
// done.
func (t *errorTree) grow() bool {
	if t.open {
		t.open = false
		t.unwrap(t.errs[len(t.errs)-1])
	}
	for len(t.rest) > 0 && len(t.errs) < mostErrors {
		err := t.rest[len(t.rest)-1]
		t.rest = t.rest[:len(t.rest)-1]
		if err != nil {
			t.errs, t.open = append(t.errs, err), true
			return true
		}
	}
	return false
}

func (t *errorTree) unwrap(err error) {
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		t.rest = append(t.rest, err.Unwrap())
	case interface{ Unwrap() []error }:
		inner := err.Unwrap()
		inner = slices.Clone(inner[:min(len(inner), mostErrors)])
		slices.Reverse(inner)
		t.rest = append(t.rest, inner...)
	}
}

// inTree returns the first error of type E in err's tree. It does not look behind it.
func inTree[E error](err error) (E, bool) {
	for t := newTree(err); t.grow(); {
		if found, ok := t.errs[len(t.errs)-1].(E); ok {
			return found, true
		}
	}
	var none E
	return none, false
}

// examineFor bounds how long the methods of an error may take.
const examineFor = 10 * time.Second

// Examine finds out what a worker tells of an error that a task returned, or panicked
// with. It calls methods of err and of the errors that it wraps, under guard: one that
// panics or calls runtime.Goexit is left out, and the message says so. After 10
// seconds it gives up on all of them. It does not call their As.
//
// It exists for package worker; its result type is internal to distpool.
func Examine(err error) call.Failure {
	ctx, cancel := context.WithTimeout(context.Background(), examineFor)
	defer cancel()
	x := &examination{err: err, tree: newTree(err), codes: errorCodes.load()}
	for fault := x.run(ctx); fault != nil; fault = x.run(ctx) {
		if _, left := fault.(*guard.Left); left { // x may still be written to
			_, permanent := err.(*permanentError)
			t := fmt.Sprintf("%T", unmarked(err))
			return call.Failure{Type: t, Permanent: permanent, Message: fmt.Sprintf("an error of type %s, whose methods did not return within %v", t, examineFor)}
		}
		if x.fault == "" {
			x.fault = fmt.Sprintf("%s %v", x.doing, fault)
		}
	}
	f := &x.found
	f.Type, f.Sane = fmt.Sprintf("%T", unmarked(err)), x.fault == "" && len(x.tree.rest) == 0
	for _, e := range x.tree.errs {
		switch e := e.(type) {
		case *permanentError:
			f.Permanent = true
		case *retryAfterError:
			if !f.Asked {
				f.Delay, f.Asked = e.delay, true
			}
		}
	}
	switch {
	case x.fault == "":
	case f.Message == "":
		f.Message = fmt.Sprintf("an error of type %s; its %s", f.Type, x.fault)
	default:
		f.Message += " (its " + x.fault + ")"
	}
	if x.fault != "" && isNilPointer(unmarked(err)) {
		f.Message += "; it is a nil pointer, which is not a nil error: return nil itself"
	}
	return *f
}

// examination is Examine under way. Each step counts as done before it runs, so that the
// next run goes on behind one that ended its goroutine.
type examination struct {
	err     error
	tree    *errorTree
	codes   []codedError // to look for
	at      int          // the error of the tree in which the first of codes is looked for
	found   call.Failure
	message bool // Error has been called
	doing   string
	fault   string // the first one
}

// run takes steps until none is left, or one fails.
func (x *examination) run(ctx context.Context) error {
	return guard.Apart(ctx, func() error {
		if !x.message {
			x.message, x.doing = true, "Error"
			x.found.Message = x.err.Error()
		}
		x.doing = "Unwrap"
		for x.tree.grow() {
		}
		x.doing = "Is"
		for len(x.codes) > 0 {
			code, at := x.codes[0], x.at
			if x.at++; at >= len(x.tree.errs) {
				x.codes, x.at = x.codes[1:], 0
				continue
			}
			if matches(x.tree.errs[at], code.target) {
				x.found.Codes = append(x.found.Codes, code.code)
				x.codes, x.at = x.codes[1:], 0
			}
		}
		return nil
	})
}

// matches is errors.Is without what err wraps. target can be compared.
func matches(err, target error) bool {
	if err == target {
		return true
	}
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(target)
}

// unmarked is the error that the task made, without our marks on it.
func unmarked(err error) error {
	for {
		switch marked := err.(type) {
		case *permanentError:
			err = marked.err
		case *retryAfterError:
			err = marked.err
		default:
			return err
		}
	}
}

func isNilPointer(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
