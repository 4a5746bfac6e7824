package tasks

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	errorCodes.add(code, target)
}

// ErrorCodes returns the codes of all registered errors that errors.Is finds in
// err, in alphabetical order; nil if there are none. It looks at the first 1,000 errors
// of err's tree.
func ErrorCodes(err error) []string {
	if err == nil {
		return nil
	}
	t := newTree(err)
	for t.grow() {
	}
	var codes []string
	for _, e := range errorCodes.load() {
		if slices.ContainsFunc(t.errs, func(err error) bool { return matches(err, e.target) }) {
			codes = append(codes, e.code)
		}
	}
	return codes
}

// ErrorForCode returns the error that is registered under code.
func ErrorForCode(code string) (error, bool) { //revive:disable-line:error-return the error is what is looked up
	all := errorCodes.load()
	if i, ok := find(all, code); ok {
		return all[i].target, true
	}
	return nil, false
}

var errorCodes errorRegistry

// errorRegistry is written a few times while the program starts, and read for
// every call that fails. Readers take the current list and hold no lock, so that
// an Is method may do what it likes, even register.
type errorRegistry struct {
	writing sync.Mutex // serializes writers
	list    atomic.Pointer[[]codedError]
}

type codedError struct {
	code   string
	target error
}

// load returns the list, sorted by code. It must not be changed.
func (r *errorRegistry) load() []codedError {
	if list := r.list.Load(); list != nil {
		return *list
	}
	return nil
}

func (r *errorRegistry) add(code string, target error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	old := r.load()
	i, ok := find(old, code)
	if ok {
		if old[i].target != target {
			panic(fmt.Sprintf("tasks.RegisterError: code %q already stands for %q and cannot stand for %q too; use another code",
				code, old[i].target, target))
		}
		return
	}
	list := slices.Insert(slices.Clone(old), i, codedError{code, target})
	r.list.Store(&list)
}

func find(list []codedError, code string) (int, bool) {
	return slices.BinarySearchFunc(list, code, func(e codedError, code string) int {
		return strings.Compare(e.code, code)
	})
}
