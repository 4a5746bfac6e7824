package page

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/names"
)

// helpers are the functions that templates call.
var helpers = template.FuncMap{
	"count": count, "duration": Duration, "number": Number, "percent": percent, "stamp": stamp, "short": Short, "text": Text, "jobURL": JobURL,
	"took": took, "policy": policy, "ago": ago, "count64": func(n int64) string { return count(int(n)) },
	"perSecond": func(f float64) string { return Number(f) + "/s" },
	"add":       func(a, b float64) float64 { return a + b },
	"join":      func(s []string) string { return strings.Join(s, ", ") },
	"cells":     func(s string) string { return strings.ReplaceAll(s, "_", " ") },
}

// count writes a number with thin spaces between groups of three digits.
func count(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return sign + s
}

// Number writes a measured number, in three digits or so.
func Number(f float64) string {
	switch {
	case f >= 100:
		return count(int(f + 0.5))
	case f == float64(int(f)):
		return strconv.Itoa(int(f))
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// Duration writes a time in its two largest units.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "–"
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// took is a time that was measured in milliseconds.
func took(d time.Duration) string {
	if d < time.Millisecond {
		return "<\u202f1 ms"
	}
	return Duration(d)
}

// ago is how long ago something was. It is coarse, so that a page on which nothing
// happens stays as it is.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return Duration(d) + " ago"
}

// Roughly is an estimate, which is not as exact as duration would make it look.
func Roughly(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds())+1)
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(5*time.Second).Seconds()))
	case d < 10*time.Minute:
		return Duration(d.Round(10 * time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	}
	return Duration(d)
}

// policy is what a job says about its calls, in words; as it is, if it is not
// understood.
func policy(s string) string {
	p, err := call.ParsePolicy(s)
	if err != nil {
		return Text(s, 300)
	}
	var parts []string
	if p.Retries != nil {
		parts = append(parts, fmt.Sprintf("retries: %d", *p.Retries))
	}
	if p.CallTimeout != nil {
		parts = append(parts, "call timeout: "+Duration(*p.CallTimeout))
	}
	if p.HardTimeout != nil {
		parts = append(parts, "hard timeout: "+Duration(*p.HardTimeout))
	}
	return strings.Join(parts, ", ")
}

// percent is the part of a whole, for the width of a bar.
func percent(part, whole int) float64 {
	if whole <= 0 {
		return 0
	}
	return min(100, 100*float64(part)/float64(whole))
}

// stamp is a time of a record, UTC, which its label says.
func stamp(ms int64) string {
	if ms == 0 {
		return "–"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05")
}

// Short is the name in an ID for a place where there is little room.
func Short(id string) string {
	id = names.SplitAddress(id).Name
	if len(id) <= 14 {
		return id
	}
	return id[:6] + "…" + id[len(id)-6:]
}

// Text shortens a text, and says so.
func Text(s string, n int) string {
	s, cut := inspect.Cut(strings.ToValidUTF8(s, "\uFFFD"), n)
	if cut {
		s += "…"
	}
	return s
}

// JobsPath begins the paths of the pages of jobs.
const JobsPath = "/jobs/"

// JobURL is the page of a job. Its queue is one element of the path, whatever is in it.
func JobURL(id string) string {
	a := names.SplitAddress(id)
	return JobsPath + url.PathEscape(a.Queue) + "/" + url.PathEscape(a.Name)
}
