package progress

import "testing"

func TestABarFitsIntoItsLine(t *testing.T) {
	const details = " (2 running, 3.98/s, 4s left)"
	for _, row := range []struct {
		width int
		want  string
	}{
		{0, "word_count" + details}, // not known
		{80, "word_count" + details},
		{58, "word_count" + details},
		{57, "word_count"},
		{29, "word_count"},
		{28, "word_coun"},
		{5, ""},
	} {
		if got := describe("word_count", details, 30, row.width); got != row.want {
			t.Errorf("in %d columns: %q, want %q", row.width, got, row.want)
		}
	}
}
