package failure

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Register gives the error target a code. It returns the other error that already has the
// code, and changes nothing then; otherwise nil. target can be compared.
func Register(code string, target error) (other error) { return codes.add(code, target) }

// Codes returns the codes of all registered errors that errors.Is finds in err, in
// alphabetical order; nil if there are none. It calls Unwrap and Is of the errors in err's
// tree without guard.
func Codes(err error) []string {
	if err == nil {
		return nil
	}
	t := newTree(err)
	for t.grow() {
	}
	var found []string
	for _, e := range codes.load() {
		if slices.ContainsFunc(t.errs, func(err error) bool { return matches(err, e.target) }) {
			found = append(found, e.code)
		}
	}
	return found
}

// ForCode returns the error that is registered under code.
func ForCode(code string) (error, bool) { //revive:disable-line:error-return the error is what is looked up
	all := codes.load()
	if i, ok := find(all, code); ok {
		return all[i].target, true
	}
	return nil, false
}

var codes registry

// registry is written a few times while the program starts, and read for
// every call that fails. Readers take the current list and hold no lock, so that
// an Is method may do what it likes, even register.
type registry struct {
	writing sync.Mutex // serializes writers
	list    atomic.Pointer[[]coded]
}

type coded struct {
	code   string
	target error
}

// load returns the list, sorted by code. It must not be changed.
func (r *registry) load() []coded {
	if list := r.list.Load(); list != nil {
		return *list
	}
	return nil
}

// add returns the other target that the code already has, or nil.
func (r *registry) add(code string, target error) (other error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	old := r.load()
	i, ok := find(old, code)
	if ok {
		if old[i].target != target {
			return old[i].target
		}
		return nil
	}
	list := slices.Insert(slices.Clone(old), i, coded{code, target})
	r.list.Store(&list)
	return nil
}

func find(list []coded, code string) (int, bool) {
	return slices.BinarySearchFunc(list, code, func(e coded, code string) int {
		return strings.Compare(e.code, code)
	})
}
