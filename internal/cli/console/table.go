package console

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Column is a column of a table.
type Column struct {
	Head  string
	Right bool // it has numbers, which stand under each other
	// Drop says in which order columns are left out where the terminal is too
	// narrow for all, 1 first; 0: never.
	Drop int
}

// Row is a thing that is printed as a line of a table.
type Row interface {
	// Cells are the texts in its columns. number writes a count as the reader wants it.
	Cells(number func(int64) string) []string
}

const (
	columnGap = 2
	// leastLast is how narrow the last column may get. It is the one that wraps.
	leastLast = 30
)

// screen is what a table is written for. The zero value is a pipe or a file, whose
// reader is a program: nothing is left out, and numbers are digits.
type screen struct{ width int }

func screenOf(out io.Writer) screen {
	f, ok := beneath(out).(*os.File)
	if !ok || !IsTerminal(f) {
		return screen{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return screen{}
	}
	return screen{width}
}

// number writes a count, for people with thin spaces between groups of three
// digits.
func (s screen) number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	if s.width == 0 {
		return digits
	}
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "\u2009" + digits[i:]
	}
	return digits
}

// writeTable writes a table. Where it is too wide for the screen, the last column
// wraps, and if that is not enough, columns are left out: the result says which.
func writeTable(out io.Writer, s screen, columns []Column, cells [][]string) (dropped []string, err error) {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c.Head)
		for _, row := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	shown := make([]int, len(columns))
	for i := range shown {
		shown[i] = i
	}
	wide := func() int { // when the last one is as narrow as it may get
		sum := -columnGap
		for at, i := range shown {
			w := widths[i]
			if at == len(shown)-1 && !columns[i].Right {
				w = min(w, max(leastLast, len(columns[i].Head)))
			}
			sum += w + columnGap
		}
		return sum
	}
	for s.width > 0 && wide() > s.width {
		next := -1
		for at, i := range shown {
			if d := columns[i].Drop; d > 0 && (next < 0 || d < columns[shown[next]].Drop) {
				next = at
			}
		}
		if next < 0 {
			break
		}
		dropped = append(dropped, columns[shown[next]].Head)
		shown = slices.Delete(shown, next, next+1)
	}
	last := shown[len(shown)-1]
	if s.width > 0 && !columns[last].Right {
		room := s.width
		for _, i := range shown[:len(shown)-1] {
			room -= widths[i] + columnGap
		}
		widths[last] = min(widths[last], max(leastLast, room))
	}
	var b strings.Builder
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.Head
	}
	for _, row := range append([][]string{heads}, cells...) {
		writeRow(&b, columns, widths, shown, row)
	}
	_, err = io.WriteString(out, b.String())
	return dropped, err
}

func writeRow(b *strings.Builder, columns []Column, widths, shown []int, row []string) {
	indent := 0
	for _, i := range shown[:len(shown)-1] {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(row[i]))
		if columns[i].Right {
			b.WriteString(pad + row[i])
		} else {
			b.WriteString(row[i] + pad)
		}
		b.WriteString(strings.Repeat(" ", columnGap))
		indent += widths[i] + columnGap
	}
	last := shown[len(shown)-1]
	for n, line := range wrap(row[last], widths[last]) {
		if n > 0 {
			b.WriteString(strings.Repeat(" ", indent))
		}
		if columns[last].Right {
			b.WriteString(strings.Repeat(" ", widths[last]-utf8.RuneCountInString(line)))
		}
		b.WriteString(line + "\n")
	}
}

// wrap cuts a text into lines of width characters at the most, after spaces and
// commas where there are some.
func wrap(text string, width int) []string {
	var lines []string
	rest := []rune(text)
	for len(rest) > width {
		cut := width
		for i := width; i > width/2; i-- {
			if rest[i] == ' ' || rest[i-1] == ',' {
				cut = i
				break
			}
		}
		lines = append(lines, strings.TrimRight(string(rest[:cut]), " "))
		rest = []rune(strings.TrimLeft(string(rest[cut:]), " "))
	}
	return append(lines, string(rest))
}

// Fact is a line of what is said of one thing: a name and a value.
type Fact [2]string

// writeFacts writes facts under each other. Those without a value are left out.
func writeFacts(out io.Writer, s screen, facts []Fact) error {
	indent := 0
	for _, f := range facts {
		indent = max(indent, len(f[0])+columnGap)
	}
	var b strings.Builder
	for _, f := range facts {
		if f[1] == "" {
			continue
		}
		lines := []string{f[1]}
		if s.width > 0 {
			lines = wrap(f[1], max(leastLast, s.width-indent))
		}
		for n, line := range lines {
			name := f[0]
			if n > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "%-*s%s\n", indent, name, line)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
