package calls

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// Whatever a file holds, it is refused with its line, or every line that is not
// blank becomes one argument, as it is written there.
func FuzzReadLines(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "1\n2\n3", "[1,\"x\"]\r\n\r\n[2,\"y\"]\r\n", "{\"a\":1}\n{\n", " \t7 \n", "1 2\n", "\"\\ud800\"\n", "\xff\n",
		"\u00a01\n", "\u2028", "1e999\n-0\n", "nul\n", "[[[[[[", "\x00", strings.Repeat("x", 100), strings.Repeat("[", 11000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		args, err := readAll(bytes.NewReader(text), "input.jsonl")
		if err != nil {
			if args != nil || !strings.HasPrefix(err.Error(), "input.jsonl: line ") {
				t.Fatalf("%d arguments and the error %v", len(args), err)
			}
			return
		}
		var lines [][]byte
		for line := range bytes.Lines(text) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				lines = append(lines, line)
			}
		}
		if len(args) != len(lines) {
			t.Fatalf("%d arguments of %d lines", len(args), len(lines))
		}
		for i, arg := range args {
			if !bytes.Equal(arg, lines[i]) || !json.Valid(arg) {
				t.Fatalf("argument %d is %q, its line is %q", i, arg, lines[i])
			}
		}
		for _, arg := range args { // a map encodes them once more
			if _, err := json.Marshal(arg); err != nil {
				t.Fatalf("%q does not encode: %v", arg, err)
			}
		}
		_ = checkTuples(args)
	})
}

func TestAByteOrderMarkIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"\xef\xbb\xbf1\n":     "line 1: it begins with the byte order mark of UTF-8",
		"1\n\xef\xbb\xbf2\n":  "line 2: it begins with the byte order mark of UTF-8",
		"\xff\xfe1\x00\n\x00": "byte order mark of UTF-16",
		"\xfe\xff\x001\x00\n": "byte order mark of UTF-16",
		"\xef\xbb\xbf\n":      "byte order mark of UTF-8",
	} {
		if _, err := readAll(strings.NewReader(text), "input"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
