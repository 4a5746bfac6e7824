package failure

import "slices"

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

// Find returns the first error of type E in err's tree. It does not look behind it,
// and calls Unwrap of the errors before it without guard.
func Find[E error](err error) (E, bool) {
	for t := newTree(err); t.grow(); {
		if found, ok := t.errs[len(t.errs)-1].(E); ok {
			return found, true
		}
	}
	var none E
	return none, false
}

// matches is errors.Is without what err wraps. target can be compared.
func matches(err, target error) bool {
	if err == target {
		return true
	}
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(target)
}
