package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/names"
)

func TestArgsSurviveTheirFrame(t *testing.T) {
	for _, tt := range []struct {
		first, n int
		data     string
	}{
		{0, 1, "[1]"},
		{980, 20, "[1,2]"},
		{MaxCalls, 1 << 16, "[]"},
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
		" " + good + "\nv", "0 " + rest + "\nv", "1073741825" + rest + "\nv", "99999999999999999999" + rest + "\nv",
		"0 0" + rest[2:] + "\nv", "0x1" + rest + "\nv", strings.Repeat("0", 70) + rest + "\nv", good + "\r\nv",
	}
}

func TestDeliverySurvivesPayloadAndTaskID(t *testing.T) {
	for _, d := range []Delivery{{"q/J", 0, 1, "", 0}, {"q/ABCDEFGHIJKLMNOPQRSTUVWXYZ", 49, 3, "", 0}, {"q/a-b.c", 1 << 30, 1 << 30, "G7", 0}} {
		for _, at := range []int64{0, 1764000000000} {
			d := d
			d.At = at
			if got, err := ParseDelivery(d.Encode()); err != nil || got != d {
				t.Errorf("payload of %+v came back as %+v, %v", d, got, err)
			}
		}
		if got, ok := ParseTaskID(names.SplitAddress(d.Job).Queue, d.TaskID()); !ok || got != d {
			t.Errorf("task ID of %+v came back as %+v, %t", d, got, ok)
		}
	}
}

// It is in the memory of each queued call.
func TestTheFirstDeliveryOfASingleCallSaysNoMoreThanItMust(t *testing.T) {
	first := Delivery{Job: "q/j", Number: 1, At: 5}
	if got := string(first.Encode()); got != `{"job":"q/j","at":5}` {
		t.Errorf("the payload is %s", got)
	}
	// As programs wrote it that did not leave out anything.
	for _, payload := range []string{string(first.Encode()), `{"job":"q/j","chunk":0,"delivery":1,"at":5}`} {
		if d, err := ParseDelivery([]byte(payload)); err != nil || d != first {
			t.Errorf("%s parses as %+v, %v", payload, d, err)
		}
	}
	for _, d := range []Delivery{{"q/j", 1, 1, "", 5}, {"q/j", 0, 2, "", 5}, {"q/j", 0, 1, "g", 5}, {"q/j", 0, 1, "", 0}} {
		if got, err := ParseDelivery(d.Encode()); err != nil || got != d || !strings.Contains(string(d.Encode()), "chunk") {
			t.Errorf("%+v became %s, and came back as %+v, %v", d, d.Encode(), got, err)
		}
	}
}

func TestTaskIDsTellDeliveriesApart(t *testing.T) {
	seen := map[string]Delivery{}
	for _, d := range []Delivery{{"q/a", 1, 1, "", 0}, {"q/a", 1, 2, "", 0}, {"q/a", 2, 1, "", 0}, {"q/a", 11, 1, "", 0}, {"q/a", 1, 11, "", 0}, {"q/b", 1, 1, "", 0}, {"q/a", 1, 1, "x", 0}, {"q/a", 1, 1, "y", 0}} {
		if other, ok := seen[d.TaskID()]; ok {
			t.Errorf("%+v and %+v share the ID %s", d, other, d.TaskID())
		}
		seen[d.TaskID()] = d
	}
}

func TestForeignPayloadsAreNoDeliveries(t *testing.T) {
	for _, payload := range []string{
		"", "hello", "null", "{}", "[]", `"j"`, `{"job":"","chunk":0,"delivery":1}`, `{"job":"j","chunk":0,"delivery":1}`, `{"job":"/j","chunk":0,"delivery":1}`, `{"job":"q/","chunk":0,"delivery":1}`, `{"job":"q}/j","chunk":0,"delivery":1}`, `{"job":"q/j","chunk":-1,"delivery":1}`,
		`{"job":"q/j","chunk":0,"delivery":0}`, `{"job":"q/j","chunk":0}`, `{"job":"q/j","chunk":"0","delivery":1}`,
		`{"job":"q/j","chunk":1.5,"delivery":1}`, `{"job":"q/j","chunk":0,"delivery":1} x`,
		`{"job":"q/j"}`, `{"job":"q/j","at":0}`, `{"job":"q/j","at":-5}`, `{"job":"q/j","at":05}`, `{"job":"","at":5}`, `{"job":"q/a b","at":5}`, `{"job":"q/j","at":5} `,
	} {
		if d, err := ParseDelivery([]byte(payload)); err == nil {
			t.Errorf("%q parses: %+v", payload, d)
		}
	}
}

func TestForeignTaskIDsAreNoDeliveries(t *testing.T) {
	for _, id := range []string{"", "j", "j:1", ":1:1", "j::1", "j:1:", "j:x:1", "j:-1:1", "j:0:0", "j:0:-1", "j:0:1:1:1", "j:0:1:",
		"b9c0a5b3-5a3f-4c55-8a83-7d0f3a8f7d7e"} {
		if d, ok := ParseTaskID("q", id); ok {
			t.Errorf("%q is taken for %+v", id, d)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add(EncodeArgs(0, 1, []byte("[1]")))
	f.Add(EncodeArgs(MaxCalls, 2, nil))
	f.Add([]byte("007 1\n"))
	f.Add([]byte("0 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, n, data, err := ParseArgs(b)
		if err != nil {
			return
		}
		if first < 0 || n < 1 || first > MaxCalls || n > MaxCalls || !bytes.HasSuffix(b, data) {
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

func FuzzParseDelivery(f *testing.F) {
	f.Add(Delivery{"q/J", 3, 1, "G", 0}.Encode())
	f.Add([]byte(`{"JOB":"q/x","chunk":1,"delivery":2,"more":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDelivery(b)
		if err != nil {
			return
		}
		if d.Job == "" || d.Chunk < 0 || d.Number < 1 {
			t.Fatalf("accepted as %+v", d)
		}
		for _, r := range d.Job { // the IDs that jobs have: ASCII without quotes
			if r <= ' ' || r > '~' || strings.ContainsRune(`"\:`, r) {
				return
			}
		}
		if again, err := ParseDelivery(d.Encode()); err != nil || again != d {
			t.Fatalf("%+v came back as %+v, %v", d, again, err)
		}
		if again, ok := ParseTaskID(names.SplitAddress(d.Job).Queue, d.TaskID()); !ok || again != d {
			t.Fatalf("task ID %s came back as %+v, %t", d.TaskID(), again, ok)
		}
	})
}
