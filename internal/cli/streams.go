package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/distpool/distpool/internal/cli/progress"
	"github.com/distpool/distpool/internal/ending"
	"github.com/distpool/distpool/internal/printable"
)

// Main is the program: it runs on the process's arguments and standard streams, and
// returns its exit code. A closed terminal, SIGQUIT and SIGTERM end it as an
// interrupt does.
func Main() int {
	ctx := ending.Context(syscall.SIGQUIT)
	return Run(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

// output is a standard stream that remembers whether it could be written to. What
// goes to a terminal, and each message, cannot steer a terminal: see package
// printable. Values that go elsewhere are written as they are.
type output struct {
	file io.Writer // the stream itself
	safe io.Writer // the same, or a printable.Writer to it

	mu  sync.Mutex // guards err
	err error      // the first
}

func newOutput(w io.Writer, messages bool) *output {
	o := &output{file: w, safe: w}
	if messages || progress.IsTerminal(w) {
		o.safe = printable.NewWriter(w)
	}
	return o
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.safe.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.err = errors.Join(o.err, err)
	}
	return n, err
}

// failed is the error of writing, if there was one.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// beneath is the stream below an output: a file, perhaps.
func beneath(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.file
	}
	return w
}

// printed is the error of printing. One whose reader has gone, as head does when it
// has enough, is nothing to tell of.
func printed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE):
		return &exitError{ExitNoResult, nil}
	}
	return noResult(fmt.Errorf("printing: %w", err))
}

// untilEnd is a writer whose Write returns when ctx ends, even if the write below
// does not: a terminal that was stopped with Ctrl-S, a pipe that nothing reads.
type untilEnd struct {
	ctx context.Context
	out io.Writer
}

func (u untilEnd) Write(p []byte) (int, error) {
	text := bytes.Clone(p) // it may still be written when this has returned
	written := make(chan error, 1)
	go func() {
		_, err := u.out.Write(text)
		written <- err
	}()
	select {
	case err := <-written:
		return len(p), err
	case <-u.ctx.Done():
		return 0, u.ctx.Err()
	}
}
