package failure

import (
	"context"
	"errors"
	"reflect"

	"github.com/distpool/distpool/internal/guard"
)

// Foreign is an error of foreign code and the text of that error. It calls the methods of
// that error only under guard.
type Foreign struct {
	text string
	err  error
}

// NewForeign returns a Foreign for err, with the text of err.
func NewForeign(err error) *Foreign { return &Foreign{guard.Text(err), err} }

// Error returns the text.
func (e *Foreign) Error() string { return e.text }

// Is is errors.Is for what e wraps. There is no Unwrap, since errors.Is would then call
// methods of err unguarded.
func (e *Foreign) Is(target error) bool {
	var is bool
	return e.ask(func() { is = errors.Is(e.err, target) }) && is
}

// As is errors.As for what e wraps.
func (e *Foreign) As(target any) bool {
	// Not target itself: code that was left behind may still write to it.
	found, as := reflect.New(reflect.TypeOf(target).Elem()), false
	if !e.ask(func() { as = errors.As(e.err, found.Interface()) }) || !as {
		return false
	}
	reflect.ValueOf(target).Elem().Set(found.Elem())
	return true
}

// ask runs f under guard, for as long as Examine would. It reports whether f returned.
func (e *Foreign) ask(f func()) bool {
	ctx, cancel := context.WithTimeout(context.Background(), examineFor)
	defer cancel()
	return guard.Apart(ctx, func() error {
		f()
		return nil
	}) == nil
}
