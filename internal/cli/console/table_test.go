package console

import (
	"strings"
	"testing"
	"unicode/utf8"
)

var tableColumns = []Column{{Head: "JOB"}, {Head: "QUEUE", Drop: 2}, {Head: "CALLS", Right: true}, {Head: "RATE", Right: true, Drop: 1}, {Head: "TASKS"}}

func drawn(t *testing.T, width int) (text, dropped string) {
	t.Helper()
	s := screen{width}
	cells := [][]string{
		{"A", "images", s.number(7), "12/s", "square, sleep, word_count, add_random"},
		{"BCDEF", "d", s.number(1_234_567), "-", "-"},
	}
	var b strings.Builder
	left, err := writeTable(&b, s, tableColumns, cells)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), strings.Join(left, " ")
}

func TestATableHasAllColumnsWhereThereIsRoom(t *testing.T) {
	const piped = "JOB    QUEUE     CALLS  RATE  TASKS\n" +
		"A      images        7  12/s  square, sleep, word_count, add_random\n" +
		"BCDEF  d       1234567     -  -\n"
	if text, dropped := drawn(t, 0); text != piped || dropped != "" {
		t.Errorf("in a pipe, without %q:\n%s", dropped, text)
	}
	wide := strings.NewReplacer("1234567", "1\u2009234\u2009567", "   CALLS", "     CALLS", "     7", "       7").Replace(piped)
	if text, dropped := drawn(t, 120); text != wide || dropped != "" {
		t.Errorf("on a wide terminal, without %q:\n%s\nwant\n%s", dropped, text, wide)
	}
}

func TestANarrowTableWrapsAndThenLeavesColumnsOut(t *testing.T) {
	for width, want := range map[int]string{64: "", 60: "RATE", 50: "RATE QUEUE"} {
		text, dropped := drawn(t, width)
		if dropped != want {
			t.Errorf("in %d columns it leaves out %q, want %q", width, dropped, want)
		}
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("in %d columns there is a line of %d: %q", width, n, line)
			}
		}
		if joined := strings.Join(strings.Fields(text), " "); !strings.Contains(joined, "add_random") {
			t.Errorf("wrapping lost something:\n%s", text)
		}
	}
}

func TestAWrappedTextKeepsItsCharacters(t *testing.T) {
	const text = "a text of words, andonethatislongerthanalineisandiscutwhereveritis,äöü"
	for width := 1; width < 80; width++ {
		lines := wrap(text, width)
		for _, line := range lines {
			if utf8.RuneCountInString(line) > width {
				t.Errorf("width %d: %q", width, line)
			}
		}
		if got := strings.ReplaceAll(strings.Join(lines, ""), " ", ""); got != strings.ReplaceAll(text, " ", "") {
			t.Errorf("width %d: %q", width, lines)
		}
	}
}

func TestNumbersAreGroupedForPeopleOnly(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1\u2009000", -123456: "-123\u2009456", 1234567: "1\u2009234\u2009567"} {
		if got := (screen{80}).number(n); got != want {
			t.Errorf("%d on a terminal is %q, want %q", n, got, want)
		}
	}
	if got := (screen{}).number(1234567); got != "1234567" {
		t.Errorf("in a pipe it is %q", got)
	}
}

func TestFactsAreAlignedAndWrapped(t *testing.T) {
	facts := []Fact{{"job", "J"}, {"pace", ""}, {"submitted", "then"}, {"deaths", "3 times a chunk lost the worker that ran it"}, {"", "more"}}
	for width, want := range map[int]string{
		0:  "job        J\nsubmitted  then\ndeaths     3 times a chunk lost the worker that ran it\n           more\n",
		44: "job        J\nsubmitted  then\ndeaths     3 times a chunk lost the worker\n           that ran it\n           more\n",
	} {
		var b strings.Builder
		if err := writeFacts(&b, screen{width}, facts); err != nil || b.String() != want {
			t.Errorf("in %d columns: %v\n%s\nwant\n%s", width, err, b.String(), want)
		}
	}
}
