// Package progress shows on standard error how far a job is: as a bar on a
// terminal, as lines of text elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Meter shows the progress of one job. It is safe for concurrent use.
type Meter struct {
	mu    sync.Mutex // guards all below
	out   io.Writer
	label string
	calls int
	bar   *progressbar.ProgressBar // nil where lines are written
	next  int                      // lines: calls from which on to write the next one
}

// Bar returns a meter that shows a bar on out, a terminal.
func Bar(out io.Writer, label string, calls int) *Meter {
	return &Meter{out: out, label: label, calls: calls, bar: progressbar.NewOptions(calls,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(label),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
	)}
}

// lines is how many lines of progress a job of many calls gets.
const lines = 10

// Lines returns a meter that writes a line to out for each tenth of the job.
func Lines(out io.Writer, label string, calls int) *Meter {
	return &Meter{out: out, label: label, calls: calls, next: (calls + lines - 1) / lines}
}

// Set shows that done calls are over, of which failed have failed.
func (m *Meter) Set(done, failed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		if failed > 0 {
			m.bar.Describe(fmt.Sprintf("%s (%d failed)", m.label, failed))
		}
		_ = m.bar.Set(done)
		return
	}
	if done == 0 || done < m.next {
		return
	}
	m.next = ((done*lines/m.calls+1)*m.calls + lines - 1) / lines
	suffix := ""
	if failed > 0 {
		suffix = fmt.Sprintf(", %d failed", failed)
	}
	fmt.Fprintf(m.out, "%s: %d of %d (%d%%)%s\n", m.label, done, m.calls, done*100/m.calls, suffix)
}

// Say writes a line beside the progress.
func (m *Meter) Say(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Clear()
	}
	fmt.Fprintln(m.out, text)
}

// End takes the bar off the terminal.
func (m *Meter) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}
