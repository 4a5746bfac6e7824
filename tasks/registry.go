package tasks

import (
	"fmt"
	"reflect"

	"github.com/distpool/distpool/internal/failure"
)

// RegisterError gives the error target a code, under which it travels: when a
// call fails with target, or with an error that wraps it, errors.Is finds
// target in the error that the producer gets.
//
//	var ErrNoStock = errors.New("no stock")
//
//	func init() { tasks.RegisterError("shop.no-stock", ErrNoStock) }
//
// Both sides must register: the worker's, to send the code, and the producer's,
// to know what it means. A package that both link does it in one place. A code
// that one side does not know is dropped; the message arrives all the same.
//
// context.Canceled and context.DeadlineExceeded are deliberately not registered.
// "The task failed" and "I stopped waiting" are different errors, and a call
// that failed of its own deadline must not look like the caller's. Register an
// error of your own and wrap that.
//
// The registry is global to the process and safe for concurrent use. The code
// follows the rules for task names (see [Define]). RegisterError panics on a bad
// code, on a target that is nil or cannot be compared (errors.Is would never
// find it), and if the code already stands for another target. The same pair
// twice is fine, and so are several codes for one target.
func RegisterError(code string, target error) {
	if err := checkName(code); err != nil {
		panic("tasks.RegisterError: code " + err.Error())
	}
	if target == nil {
		panic(fmt.Sprintf("tasks.RegisterError: target of code %q is nil; pass the error that errors.Is shall find", code))
	}
	if !reflect.ValueOf(target).Comparable() {
		panic(fmt.Sprintf("tasks.RegisterError: target of code %q has type %T, which cannot be compared; "+
			"use a sentinel made by errors.New", code, target))
	}
	if other := failure.Register(code, target); other != nil {
		panic(fmt.Sprintf("tasks.RegisterError: code %q already stands for %q and cannot stand for %q too; use another code",
			code, other, target))
	}
}

// ErrorCodes returns the codes of all registered errors that errors.Is finds in
// err, in alphabetical order; nil if there are none. It looks at the first 1,000 errors
// of err's tree.
func ErrorCodes(err error) []string {
	return failure.Codes(err)
}

// ErrorForCode returns the error that is registered under code.
func ErrorForCode(code string) (error, bool) { //revive:disable-line:error-return the error is what is looked up
	return failure.ForCode(code)
}
