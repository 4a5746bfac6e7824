package tasks

import "github.com/distpool/distpool/internal/call"

// Option changes how a task is defined. Options are applied in order, so the
// later one of two that contradict each other wins.
type Option func(*options)

// options is what a task was defined with, its defaults filled in.
type options struct {
	codec  Codec
	policy call.Policy
}

// WithCodec sets the codec in which the task's arguments and values travel.
// Defaults to [JSON]. The producer and the worker must agree on it; a worker
// refuses a job whose codec has another name. It panics on nil and on a codec
// whose name breaks the rules for names (see [Define]).
func WithCodec(c Codec) Option {
	if c == nil {
		panic("tasks.WithCodec: codec is nil; pass a Codec, or leave the option out to get tasks.JSON")
	}
	if err := checkName(c.Name()); err != nil {
		panic("tasks.WithCodec: name of the codec " + err.Error())
	}
	return func(o *options) { o.codec = c }
}

func newOptions(opts []Option) options {
	o := options{codec: JSON}
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.policy.CheckLimits(); err != nil {
		panic("tasks.Define: " + err.Error())
	}
	return o
}
