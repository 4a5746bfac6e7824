// Package progress shows on standard error how far a job is: as a bar on a
// terminal, as lines of text elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/distpool/distpool/internal/printable"
	"github.com/distpool/distpool/results"
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
	label = printable.Text(label)
	return &Meter{out: out, label: label, calls: calls, bar: progressbar.NewOptions(calls,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(label),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false), // it knows less than the job does
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
	)}
}

// lines is how many lines of progress a job of many calls gets.
const lines = 10

// Lines returns a meter that writes a line to out for each tenth of the job.
func Lines(out io.Writer, label string, calls int) *Meter {
	return &Meter{out: out, label: printable.Text(label), calls: calls, next: (calls + lines - 1) / lines}
}

// Show shows how far the job is.
func (m *Meter) Show(p results.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	done, failed := p.Done, p.Failed
	if m.bar != nil {
		m.bar.Describe(describe(m.label, details(p), m.calls, width(m.out)))
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

// width is how many characters a line of the terminal has; 0 when that is not known.
func width(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// describe is what stands before a bar. It leaves out the details, and then the end
// of the label, where the line would wrap: a bar that wraps is a new line each time.
func describe(label, details string, calls, width int) string {
	if width <= 0 {
		return label + details
	}
	const rest = len("  100% |#| (/) ")
	room := width - rest - 2*len(strconv.Itoa(calls))
	if utf8.RuneCountInString(label+details) <= room {
		return label + details
	}
	if utf8.RuneCountInString(label) <= room {
		return label
	}
	return string([]rune(label)[:max(0, room)])
}

// details is what a bar says beside the calls that are over.
func details(p results.Progress) string {
	var parts []string
	if p.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", p.Failed))
	}
	switch {
	case p.NoWorker:
		parts = append(parts, "no worker")
	case p.Running > 0:
		parts = append(parts, fmt.Sprintf("%d running", p.Running))
	}
	switch {
	case p.Rate >= 100: // more digits than %.3g writes without an exponent
		parts = append(parts, fmt.Sprintf("%.0f/s", p.Rate))
	case p.Rate > 0:
		parts = append(parts, fmt.Sprintf("%.3g/s", p.Rate))
	}
	if p.Left > 0 {
		parts = append(parts, p.Left.Round(time.Second).String()+" left")
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// Say writes a line beside the progress.
func (m *Meter) Say(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Clear()
	}
	fmt.Fprintln(m.out, printable.Text(text))
}

// End takes the bar off the terminal.
func (m *Meter) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}
