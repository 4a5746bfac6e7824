package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/redisconn"
)

// look calls f with an inspector of the Redis that the flags name. The context
// that f gets ends with the time of --timeout.
func (a *app) look(ctx context.Context, f func(ctx context.Context, in *inspect.Inspector, rdb redis.UniversalClient) error) error {
	ctx, cancel := a.flags.limit(ctx)
	defer cancel()
	rdb, err := redisconn.Open(ctx, a.flags.redis)
	if err != nil {
		return noResult(err)
	}
	defer func() { _ = rdb.Close() }()
	err = f(ctx, inspect.New(rdb), rdb)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	return noResult(err)
}

const jsonHelp = `
With --json each line is a JSON object; times are RFC 3339 by the clock of
Redis, durations are seconds.`

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON objects, one a line")
}

// report prints rows: with JSON each as a line, otherwise as a table.
func report[R row](a *app, asJSON bool, columns []column, rows []R) error {
	if asJSON {
		return printJSON(a, rows...)
	}
	s := screenOf(a.Out)
	cells := make([][]string, len(rows))
	for i, r := range rows {
		cells[i] = r.cells(s.number)
	}
	dropped, err := writeTable(a.Out, s, columns, cells)
	if err != nil {
		return printed(err)
	}
	if len(dropped) > 0 {
		fmt.Fprintf(a.Err, "distpool: no room for %s in %d columns; --json has all\n", strings.Join(dropped, ", "), s.width)
	}
	return nil
}

// printJSON prints each value as a line of JSON.
func printJSON[T any](a *app, values ...T) error {
	out := bufio.NewWriter(a.Out)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	var errs []error
	for _, v := range values {
		errs = append(errs, lines.Encode(v))
	}
	return printed(errors.Join(append(errs, out.Flush())...))
}

// plain makes a text of others fit for a cell on a terminal: no control
// characters, one line, n characters at the most.
func plain(s string, n int) string {
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

// brief is a duration as people say it: two digits or so.
func brief(d time.Duration) string {
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

// perSecond is a rate as people say it.
func perSecond(rate float64, number func(int64) string) string {
	switch {
	case rate <= 0:
		return "-"
	case rate >= 100:
		return number(int64(rate+0.5)) + "/s"
	}
	return strconv.FormatFloat(rate, 'g', 3, 64) + "/s"
}

// instant is a time of a record, in ms; nil when it has not come.
func instant(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}
