package signing

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/wire"
)

func FuzzSignaturesThatAreReadComeBack(f *testing.F) {
	s := signature{key: "k1", notBefore: 5, expires: 7, total: -1}
	f.Add(append([]byte(s.line()+"\n"), wire.EncodeArgs(0, 1, []byte("[1]"))...))
	f.Add([]byte("~1 k 0 0 0 00\n"))
	f.Add([]byte("~"))
	f.Add(bytes.Repeat([]byte("~1 "), 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, _ = wire.ParseArgs(b) // steps over it
		line, frame, _ := wire.CutSignature(b)
		s, err := parse(string(line))
		if err != nil {
			return
		}
		if again := s.line() + "\n" + string(frame); again != string(b) {
			t.Fatalf("%q comes back as %q", b, again)
		}
	})
}

func TestASignatureIsAsLongAsItsLineMayBe(t *testing.T) {
	s := signature{key: strings.Repeat("k", 32), notBefore: math.MaxInt64, expires: math.MaxInt64, total: math.MaxInt}
	if n := len(s.line()); n >= wire.MaxSignature {
		t.Errorf("a line has %d bytes, more than the %d that are looked at", n, wire.MaxSignature)
	}
	line, frame, ok := wire.CutSignature([]byte(s.line() + "\nx"))
	if got, err := parse(string(line)); err != nil || !ok || got != s || string(frame) != "x" {
		t.Errorf("%+v %v %q %v", got, ok, frame, err)
	}
}
