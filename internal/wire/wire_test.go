package wire

import (
	"reflect"
	"testing"
)

func TestFramesArriveAsTheyWere(t *testing.T) {
	first, n, data, err := ParseArgs(EncodeArgs(40, 2, []byte("[1,\n2]")))
	if err != nil || first != 40 || n != 2 || string(data) != "[1,\n2]" {
		t.Errorf("arguments: %d, %d, %q, %v", first, n, data, err)
	}
	for _, o := range []Outcome{
		{First: 0, Calls: 1, Values: []byte("[1]")},
		{First: 7, Calls: 3, Values: []byte("[1,0,3]"), Errors: []CallError{{
			Call: 1, Kind: KindPanic, Message: "no\nluck", Type: "string", Codes: []string{"a"}, Stack: "s", Attempts: 2, Worker: "w",
		}}},
		{First: 0, Calls: 1, Values: []byte{}, Errors: []CallError{{Call: 0, Kind: KindError}}},
	} {
		got, err := ParseOutcome(o.Encode())
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("outcome %+v came back as %+v, %v", o, got, err)
		}
	}
	d := Delivery{Job: "J", Chunk: 3, Number: 2}
	if got, err := ParseDelivery(d.Encode()); err != nil || got != d {
		t.Errorf("delivery %+v came back as %+v, %v", d, got, err)
	}
	if got, ok := ParseTaskID(d.TaskID()); !ok || got != d {
		t.Errorf("task ID %s came back as %+v, %v", d.TaskID(), got, ok)
	}
}

func TestCorruptFramesAreRefused(t *testing.T) {
	for _, b := range []string{"", "1 2", "1\n", "x 1\n[1]", "1 -1\n[1]", "0 0\n[]", "1 99999999999\n[1]", "1  1\n[1]"} {
		if first, n, _, err := ParseArgs([]byte(b)); err == nil {
			t.Errorf("arguments %q were read as %d, %d", b, first, n)
		}
	}
	for _, b := range []string{
		"", "0 1\n[1]", "0 0 0\n[]", "0 1 9\n[1]", "0 1 2\n{][1]", "0 1 0\n",
		`0 1 23` + "\n" + `[{"i":1,"k":"e","m":""}][1]`,                               // an error beyond the chunk
		`0 2 47` + "\n" + `[{"i":0,"k":"e","m":""},{"i":0,"k":"e","m":""}]` + "[1,2]", // two for one call
	} {
		if o, err := ParseOutcome([]byte(b)); err == nil {
			t.Errorf("outcome %q was read as %+v", b, o)
		}
	}
	for _, b := range []string{"", "{}", "17", `{"job":"","chunk":0,"delivery":1}`, `{"job":"J","chunk":-1,"delivery":1}`, `{"job":"J","chunk":0}`} {
		if d, err := ParseDelivery([]byte(b)); err == nil {
			t.Errorf("delivery %q was read as %+v", b, d)
		}
	}
	for _, id := range []string{"", "J", "J:1", ":1:1", "J:x:1", "J:-1:1", "J:1:0", "6f1c-uuid", "J:1:1:1"} {
		if d, ok := ParseTaskID(id); ok {
			t.Errorf("task ID %q was read as %+v", id, d)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add([]byte("0 1\n[1]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, n, data, err := ParseArgs(b)
		if err != nil {
			return
		}
		f2, n2, d2, err := ParseArgs(EncodeArgs(first, n, data))
		if err != nil || f2 != first || n2 != n || string(d2) != string(data) {
			t.Errorf("%q does not survive", b)
		}
	})
}

func FuzzParseOutcome(f *testing.F) {
	f.Add([]byte("0 1 0\n[1]"))
	f.Add(Outcome{Calls: 2, Errors: []CallError{{Call: 1, Kind: KindError, Message: "m"}}, Values: []byte("[1,0]")}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOutcome(b)
		if err != nil {
			return
		}
		if _, err := ParseOutcome(o.Encode()); err != nil {
			t.Errorf("%q does not survive: %v", b, err)
		}
	})
}
