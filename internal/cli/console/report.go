package console

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/inspect"
)

// JSONHelp ends the help of commands that report.
const JSONHelp = `
With --json each line is a JSON object; times are RFC 3339 by the clock of
Redis, durations are seconds.`

// JSONFlag adds --json.
func JSONFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON objects, one a line")
}

// Report prints rows: with JSON each as a line, otherwise as a table.
func Report[R Row](a *App, asJSON bool, columns []Column, rows []R) error {
	if asJSON {
		return PrintJSON(a, rows...)
	}
	s := screenOf(a.Out)
	cells := make([][]string, len(rows))
	for i, r := range rows {
		cells[i] = r.Cells(s.number)
	}
	dropped, err := writeTable(a.Out, s, columns, cells)
	if err != nil {
		return Printed(err)
	}
	if len(dropped) > 0 {
		fmt.Fprintf(a.Err, "distpool: no room for %s in %d columns; --json has all\n", strings.Join(dropped, ", "), s.width)
	}
	return nil
}

// PrintFacts prints the facts about one thing. number is as for the cells of a Row.
func PrintFacts(a *App, facts func(number func(int64) string) []Fact) error {
	s := screenOf(a.Out)
	return Printed(writeFacts(a.Out, s, facts(s.number)))
}

// PrintJSON prints each value as a line of JSON.
func PrintJSON[T any](a *App, values ...T) error {
	out := bufio.NewWriter(a.Out)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	var errs []error
	for _, v := range values {
		errs = append(errs, lines.Encode(v))
	}
	return Printed(errors.Join(append(errs, out.Flush())...))
}

// Plain makes a text of others fit for a cell on a terminal: no control
// characters, one line, n characters at the most.
func Plain(s string, n int) string {
	s, cut := inspect.Cut(strings.ToValidUTF8(s, "\uFFFD"), n)
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if s = strings.Join(strings.Fields(s), " "); cut {
		s += "..."
	}
	if s == "" {
		return "-"
	}
	return s
}

// Brief is a duration as people say it: two digits or so.
func Brief(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < 24*time.Hour:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1fd", d.Hours()/24)
}

// Count is a number of things.
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
