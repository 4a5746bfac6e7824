// Package failure reads errors of foreign code: their marks, the codes of registered errors,
// their texts. It calls their methods under guard; a function that does not says so.
package failure

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/guard"
)

// examineFor bounds how long the methods of an error may take.
const examineFor = 10 * time.Second

// Examine finds out what a worker tells of an error that a task returned, or panicked
// with. It calls methods of err and of the errors that it wraps, under guard: one that
// panics or calls runtime.Goexit is left out, and the message says so. After 10
// seconds it gives up on all of them. It does not call their As.
func Examine(err error) call.Failure {
	ctx, cancel := context.WithTimeout(context.Background(), examineFor)
	defer cancel()
	x := &examination{err: err, tree: newTree(err), codes: codes.load()}
	for fault := x.run(ctx); fault != nil; fault = x.run(ctx) {
		if _, left := fault.(*guard.Left); left { // x may still be written to
			_, permanent := err.(*Permanent)
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
		case *Permanent:
			f.Permanent = true
		case *RetryAfter:
			if !f.Asked {
				f.Delay, f.Asked = e.Delay, true
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
	codes   []coded // to look for
	at      int     // the error of the tree in which the first of codes is looked for
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

// unmarked is the error that the task made, without our marks on it.
func unmarked(err error) error {
	for {
		switch marked := err.(type) {
		case *Permanent:
			err = marked.Err
		case *RetryAfter:
			err = marked.Err
		default:
			return err
		}
	}
}

func isNilPointer(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
