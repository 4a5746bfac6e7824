package wire

import (
	"bytes"
	"testing"
)

func FuzzCutSignature(f *testing.F) {
	s := Signature{Key: "k1", NotBefore: 5, Expires: 7, Total: -1}
	f.Add(Sign(s, EncodeArgs(0, 1, []byte("[1]"))))
	f.Add([]byte("~1 k 0 0 0 00\n"))
	f.Add([]byte("~"))
	f.Add(bytes.Repeat([]byte("~1 "), 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, _ = ParseArgs(b) // steps over it
		s, frame, err := CutSignature(b)
		if err != nil {
			return
		}
		again, frame2, err := CutSignature(Sign(s, frame))
		if err != nil || again != s || !bytes.Equal(frame, frame2) {
			t.Fatalf("%+v came back as %+v, %v", s, again, err)
		}
	})
}

func TestASignatureIsAsLongAsItsLineMayBe(t *testing.T) {
	s := Signature{Key: string(bytes.Repeat([]byte("k"), 32)), NotBefore: 1<<63 - 1, Expires: 1<<63 - 1, Total: 1<<63 - 1}
	if n := len(s.Line()); n >= maxSignature {
		t.Errorf("a line has %d bytes, more than the %d that are looked at", n, maxSignature)
	}
	if got, frame, err := CutSignature(Sign(s, []byte("x"))); err != nil || got != s || string(frame) != "x" {
		t.Errorf("%+v %q %v", got, frame, err)
	}
}

func TestImplausibleDeliveriesAreRefused(t *testing.T) {
	for _, payload := range []string{
		`{"job":"q/a}b","chunk":0,"delivery":1}`, `{"job":"q/a b","chunk":0,"delivery":1}`, `{"job":"q/a","chunk":0,"delivery":9223372036854775807}`,
		`{"job":"q/a","chunk":9223372036854775807,"delivery":1}`, `{"job":"q/a","gen":":","chunk":0,"delivery":1}`, `{"job":"q/` + string(bytes.Repeat([]byte("a"), 101)) + `","chunk":0,"delivery":1}`,
	} {
		if d, err := ParseDelivery([]byte(payload)); err == nil {
			t.Errorf("%s is taken for %+v", payload, d)
		}
		if d, ok := ParseTaskID("q", "a:0:9223372036854775807"); ok {
			t.Errorf("a number without a next one is taken for %+v", d)
		}
	}
}
