package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestArgsSurviveTheirFrame(t *testing.T) {
	for _, tt := range []struct {
		first, n int
		data     string
	}{
		{0, 1, "[1]"},
		{980, 20, "[1,2]"},
		{maxFirst, 1 << 16, "[]"},
		{3, 2, ""},
		{0, 1, "a\nb\x00\xff 1 2\n"},
	} {
		first, n, data, err := ParseArgs(EncodeArgs(tt.first, tt.n, []byte(tt.data)))
		if err != nil || first != tt.first || n != tt.n || string(data) != tt.data {
			t.Errorf("%d %d %q came back as %d %d %q, %v", tt.first, tt.n, tt.data, first, n, data, err)
		}
	}
}

func TestCorruptArgsAreRefused(t *testing.T) {
	for _, frame := range corruptHeaders("0 1") {
		if first, n, data, err := ParseArgs([]byte(frame)); err == nil {
			t.Errorf("%.60q parses: %d %d %q", frame, first, n, data)
		}
	}
}

func TestFrameIsReadableInRedisCLI(t *testing.T) {
	if got := string(EncodeArgs(40, 2, []byte(`[1,2]`))); got != "40 2\n[1,2]" {
		t.Errorf("arguments frame is %q", got)
	}
	if got := string(Outcome{First: 40, Calls: 2, Values: []byte(`[1,4]`)}.Encode()); got != "40 2 0\n[1,4]" {
		t.Errorf("outcomes frame is %q", got)
	}
}

var fullError = CallError{
	Call: 1, Kind: KindPanic, Message: "boom \"quoted\"\nline ☃", Type: "*errors.errorString",
	Codes: []string{"not_found", "x"}, Stack: "goroutine 1\n\tfile.go:3", Attempts: 2, Worker: "host:1:ab",
}

func TestOutcomesSurviveTheirFrame(t *testing.T) {
	for name, o := range map[string]Outcome{
		"values only":       {First: 7, Calls: 3, Values: []byte("[1,2,3]")},
		"one failed":        {First: 0, Calls: 2, Errors: []CallError{fullError}, Values: []byte("[1,0]")},
		"all failed":        {First: 5, Calls: 2, Errors: []CallError{{Kind: KindError, Message: "a"}, fullError}},
		"newlines in value": {First: 0, Calls: 1, Values: []byte("\n\n\x00")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOutcome(o.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Values) == 0 {
				got.Values = nil
			}
			if !reflect.DeepEqual(got, o) {
				t.Errorf("came back as %+v, want %+v", got, o)
			}
		})
	}
}

func TestCorruptOutcomesAreRefused(t *testing.T) {
	frames := append(corruptHeaders("0 1 0"),
		"0 1 5\n[]",                     // fewer bytes than the errors claim
		"0 1 2\n{}",                     // errors are no array
		"0 1 3\n[{]",                    // errors are no JSON
		"0 1 0\n",                       // no values, nothing failed
		"0 2 17\n"+`[{"i":0,"k":"e"}]`,  // no values, and only one of two failed
		"0 1 17\n"+`[{"i":1,"k":"e"}]v`, // a failed call behind the last
		"0 1 18\n"+`[{"i":-1,"k":"e"}]v`,
		"0 2 17\n"+`[{"i":0},{"i":0}]v`, // twice
		"0 2 17\n"+`[{"i":1},{"i":0}]v`, // not ascending
		"0 1 7\n"+`[{"i":]v`,
		"0 1073741824 0\n[1]", // more calls than the bytes can hold
	)
	for _, frame := range frames {
		if o, err := ParseOutcome([]byte(frame)); err == nil {
			t.Errorf("%.60q parses: %+v", frame, o)
		}
	}
}

// corruptHeaders are frames whose first line is wrong wherever good is right.
func corruptHeaders(good string) []string {
	rest := good[1:]
	fewer := good[:strings.LastIndex(good, " ")]
	return []string{
		"", "\n", good, fewer + "\nv", good + " 0\nv", "-1" + rest + "\nv", "+1" + rest + "\nv", "x" + rest + "\nv",
		" " + good + "\nv", "0 " + rest + "\nv", "9007199254740993" + rest + "\nv", "0 1073741825" + rest[2:] + "\nv", "99999999999999999999" + rest + "\nv",
		"0 0" + rest[2:] + "\nv", "0x1" + rest + "\nv", strings.Repeat("0", 70) + rest + "\nv", good + "\r\nv",
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add(EncodeArgs(0, 1, []byte("[1]")))
	f.Add(EncodeArgs(maxFirst, 2, nil))
	f.Add([]byte("007 1\n"))
	f.Add([]byte("0 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, n, data, err := ParseArgs(b)
		if err != nil {
			return
		}
		if first < 0 || n < 1 || first > maxFirst || n > MaxCalls || !bytes.HasSuffix(b, data) {
			t.Fatalf("accepted as %d %d %q", first, n, data)
		}
		first2, n2, data2, err := ParseArgs(EncodeArgs(first, n, data))
		if err != nil || first2 != first || n2 != n || !bytes.Equal(data2, data) {
			t.Fatalf("%d %d %q came back as %d %d %q, %v", first, n, data, first2, n2, data2, err)
		}
	})
}

func FuzzParseOutcome(f *testing.F) {
	f.Add(Outcome{Calls: 1, Values: []byte("[1]")}.Encode())
	f.Add(Outcome{Calls: 2, Errors: []CallError{fullError}, Values: []byte("[1,0]")}.Encode())
	f.Add([]byte("0 1 4\nnullv"))
	f.Add([]byte("0 1 9\n[{\"i\":0}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOutcome(b)
		if err != nil {
			return
		}
		if o.First < 0 || o.Calls < 1 || len(o.Errors) > o.Calls || !bytes.HasSuffix(b, o.Values) {
			t.Fatalf("accepted as %+v", o)
		}
		last := -1
		for _, e := range o.Errors {
			if e.Call <= last || e.Call >= o.Calls {
				t.Fatalf("accepted call %d after %d of %d", e.Call, last, o.Calls)
			}
			last = e.Call
		}
		frame := o.Encode()
		again, err := ParseOutcome(frame)
		if err != nil || !bytes.Equal(again.Encode(), frame) {
			t.Fatalf("%q came back as %+v, %v", frame, again, err)
		}
	})
}
