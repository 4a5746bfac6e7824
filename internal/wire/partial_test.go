package wire_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/distpool/distpool/internal/wire"
)

func TestPartialsSurviveTheirFrame(t *testing.T) {
	for name, p := range map[string]wire.Partial{
		"nothing yet": {Outcome: wire.Outcome{First: 4, Calls: 3, Values: []byte{}}},
		"some values": {Next: 2, Outcome: wire.Outcome{Calls: 3, Values: []byte("[1,2,0]")}},
		"calls wait": {
			Next: 3, Due: 1_700_000_000_123, Pending: []wire.Pending{{Call: 0, Attempts: 1}, {Call: 2, Attempts: 4}},
			Outcome: wire.Outcome{Calls: 3, Values: []byte("[0,2,0]")},
		},
		"a call failed for good": {
			Next:    1,
			Outcome: wire.Outcome{Calls: 2, Values: []byte{}, Errors: []wire.CallError{{Call: 0, Kind: wire.KindTimeout, Message: "late"}}},
		},
	} {
		got, err := wire.ParsePartial(p.Encode())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: %+v came back as %+v, %v", name, p, got, err)
		}
		if want := p.Next - len(p.Pending); got.Finished() != want {
			t.Errorf("%s: %d calls are finished, want %d", name, got.Finished(), want)
		}
	}
}

func frame(own, outcome string) string { return fmt.Sprintf("%d\n%s%s", len(own), own, outcome) }

func TestCorruptPartialsAreRefused(t *testing.T) {
	for _, b := range []string{
		"", "1\n", "0\n", "9\n{}", frame(`{"next":4}`, "0 3 0\n[1,2,3]"), frame(`{"next":-1}`, "0 3 0\n[1,2,3]"), // next beyond the chunk
		frame(`{"next":1}`, "0 3 0\n"),                                           // a finished call without a value
		frame(`{"next":1,"calls":[{"i":1,"a":1}]}`, "0 3 0\n[1,0,0]"),            // pending, but not begun
		frame(`{"next":2,"calls":[{"i":1,"a":1},{"i":1,"a":1}]}`, "0 3 0\n[1]"),  // pending twice
		frame(`{"next":1,"calls":[{"i":0,"a":0}]}`, "0 3 0\n[1]"),                // pending, but never run
		frame(`{"next":1}`, "0 3 23\n[{\"i\":2,\"k\":\"e\",\"m\":\"\"}][1,0,0]"), // failed, but not begun
	} {
		if p, err := wire.ParsePartial([]byte(b)); err == nil {
			t.Errorf("%q was read as %+v", b, p)
		}
	}
}

func FuzzAcceptedPartialsComeBack(f *testing.F) {
	f.Add([]byte("2\n{}0 1 0\n"))
	f.Add(wire.Partial{Next: 2, Pending: []wire.Pending{{Call: 1, Attempts: 1}}, Outcome: wire.Outcome{Calls: 2, Values: []byte("[1,0]")}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := wire.ParsePartial(b)
		if err != nil {
			return
		}
		again, err := wire.ParsePartial(p.Encode())
		if err != nil || again.Next != p.Next || len(again.Pending) != len(p.Pending) || string(again.Values) != string(p.Values) {
			t.Errorf("%q comes back as %+v, %v", b, again, err)
		}
	})
}
