package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/distpool/distpool/internal/cli/progress"
	"github.com/distpool/distpool/internal/printable"
)

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
	if messages || IsTerminal(w) {
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
func beneath(stream any) any {
	if o, ok := stream.(*output); ok {
		return o.file
	}
	return stream
}

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := beneath(stream).(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Bar returns a bar that shows the progress of many calls on standard error; nil if
// that is no terminal, or there is one call.
func (a *App) Bar(label string, calls int) *progress.Meter {
	f, ok := beneath(a.Err).(*os.File)
	if !ok || !IsTerminal(f) || calls <= 1 {
		return nil
	}
	return progress.Bar(f, label, calls)
}

// Until is the run whose prints return when ctx ends, whatever reads them.
func (a *App) Until(ctx context.Context) *App {
	until := *a
	until.Out, until.Err = untilEnd{ctx, a.Out}, untilEnd{ctx, a.Err}
	return &until
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
