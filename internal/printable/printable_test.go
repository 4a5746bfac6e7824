package printable

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestWhatSteersATerminalIsWrittenOut(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\nin lines":    "plain\ttext\nin lines",
		"Zoë 世界 😀 1\u2009000":      "Zoë 世界 😀 1\u2009000",
		"\x1b[31mred\x1b]0;t\x07":  `\u001b[31mred\u001b]0;t\u0007`,
		"over\rwritten \b\v\f\x7f": `over\u000dwritten \u0008\u000b\u000c\u007f`,
		"\u009b31m \u0085":         `\u009b31m \u0085`,
		"\u202egnp.exe\u202c":      `\u202egnp.exe\u202c`,
		"\u2066\u2069\u200f\u061c": `\u2066\u2069\u200f\u061c`,
		"zero\u200bwidth\ufeff":    `zero\u200bwidth\ufeff`,
		"\u2028\u2029":             `\u2028\u2029`,
		"tag \U000e0041":           `tag \udb40\udc41`,
		"bad \xff\xc3":             `bad \ufffd\ufffd`,
		"":                         "",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestWrittenInPiecesItIsTheSame(t *testing.T) {
	text := "a\u009b é世😀\U000e0041\x1b[0m end\n"
	var out bytes.Buffer
	w := NewWriter(&out)
	for i := range len(text) {
		if n, err := w.Write([]byte{text[i]}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if out.String() != Text(text) {
		t.Errorf("got %q, want %q", out.String(), Text(text))
	}
}

func TestJSONKeepsItsMeaning(t *testing.T) {
	value := "\u009b31m \U000e0041 \u202e \x7f é"
	doc, err := json.Marshal(map[string]string{"v": value})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(Text(string(doc))), &back); err != nil || back["v"] != value {
		t.Errorf("got %q, %v", back, err)
	}
}
