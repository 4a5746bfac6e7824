// Package ending tells a program of this repository that it shall end.
package ending

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends with the first signal that asks the program
// to end: an interrupt, SIGTERM, SIGHUP (its terminal was closed), or one of more.
// The second signal has its usual effect. Call it once, first thing in main.
//
// A signal that the program was started to ignore stays ignored, as nohup and a
// shell's background jobs want it.
//
// A closed pipe does not kill the program any more: the write returns EPIPE, so
// that the program can tidy up. Nor does a second SIGHUP, since both the kernel
// and the shell send one when a terminal is closed.
func Context(more ...os.Signal) context.Context {
	var asks []os.Signal
	for _, s := range append([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, more...) {
		if !signal.Ignored(s) {
			asks = append(asks, s)
		}
	}
	outlived := []os.Signal{syscall.SIGPIPE}
	if !signal.Ignored(syscall.SIGHUP) {
		outlived = append(outlived, syscall.SIGHUP)
	}
	// Nothing reads the channel: a signal that has one does not kill the program.
	signal.Notify(make(chan os.Signal, 1), outlived...)
	if len(asks) == 0 {
		return context.Background() // NotifyContext takes an empty list for all signals
	}
	ctx, stop := signal.NotifyContext(context.Background(), asks...)
	context.AfterFunc(ctx, stop)
	return ctx
}
