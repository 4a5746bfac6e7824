package signing_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/secure"
)

var (
	oldKey = secure.NewKey("old")
	newKey = secure.NewKey("new")

	place = signing.Place{What: secure.Arguments, Job: signing.Ref{ID: "job", Gen: "g1"}, Task: "square", Chunk: 3}
	frame = wire.EncodeArgs(7, 2, []byte("[1,2]"))
)

func terms() signing.Terms {
	return signing.Terms{Codec: "json", Queue: "q", Policy: "{}", Total: 10, Expires: time.Now().Add(time.Hour).UnixMilli()}
}

func wants(t *testing.T, what string, err error, want secure.Reason) {
	t.Helper()
	e, ok := errors.AsType[*signing.Error](err)
	if want == "" {
		if err != nil {
			t.Errorf("%s: %v, want it accepted", what, err)
		}
		return
	}
	if !ok || e.Reason != want {
		t.Errorf("%s: %v, want it refused as %s", what, err, want)
	}
}

func TestWhatWasSignedIsAcceptedInItsPlaceOnly(t *testing.T) {
	s := signing.New(secure.Keyring{Sign: newKey})
	signed := s.Frame(place, terms(), frame)
	wants(t, "as signed", s.CheckFrame(place, terms(), signed, time.Now()), "")
	for what, change := range map[string]func(*signing.Place, *signing.Terms){
		"another job":        func(p *signing.Place, _ *signing.Terms) { p.Job.ID = "jo" },
		"another generation": func(p *signing.Place, _ *signing.Terms) { p.Job.Gen = "g2" },
		"no generation":      func(p *signing.Place, _ *signing.Terms) { p.Job.Gen = "" },
		"another task":       func(p *signing.Place, _ *signing.Terms) { p.Task = "cube" },
		"another chunk":      func(p *signing.Place, _ *signing.Terms) { p.Chunk = 2 },
		"another purpose":    func(p *signing.Place, _ *signing.Terms) { p.What = secure.Outcomes },
		"shifted texts":      func(p *signing.Place, _ *signing.Terms) { p.Job = signing.Ref{ID: "jobg", Gen: "1"} },
		"another codec":      func(_ *signing.Place, t *signing.Terms) { t.Codec = "gob" },
		"another queue":      func(_ *signing.Place, t *signing.Terms) { t.Queue = "" },
		"another policy":     func(_ *signing.Place, t *signing.Terms) { t.Policy = `{"retries":9}` },
		"another total":      func(_ *signing.Place, t *signing.Terms) { t.Total = 11 },
	} {
		p, tt := place, terms()
		change(&p, &tt)
		wants(t, what, s.CheckFrame(p, tt, signed, time.Now()), secure.Mismatch)
	}
}

// No single byte of a signed frame may change without being noticed.
func TestEveryByteOfASignedFrameIsProtected(t *testing.T) {
	s := signing.New(secure.Keyring{Sign: newKey})
	signed := s.Frame(place, terms(), frame)
	for i := range signed {
		for _, bit := range []byte{1, 0x20, 0x80} {
			bad := append([]byte(nil), signed...)
			bad[i] ^= bit
			err := s.CheckFrame(place, terms(), bad, time.Now())
			if err == nil && strings.EqualFold(string(bad), string(signed)) {
				continue // the case of a hexadecimal digit
			}
			if err == nil {
				t.Errorf("byte %d, %q -> %q, is accepted", i, signed[i], bad[i])
			}
		}
		if err := s.CheckFrame(place, terms(), signed[:i], time.Now()); err == nil {
			t.Errorf("the first %d bytes are accepted", i)
		}
	}
}

func TestASignedFrameIsReadLikeAnUnsignedOne(t *testing.T) {
	s := signing.New(secure.Keyring{Sign: newKey})
	first, n, data, err := wire.ParseArgs(s.Frame(place, terms(), frame))
	if err != nil || first != 7 || n != 2 || string(data) != "[1,2]" {
		t.Errorf("%d %d %q %v", first, n, data, err)
	}
}

func TestTimesAreCheckedWithLeeway(t *testing.T) {
	s := signing.New(secure.Keyring{Sign: newKey})
	now := time.Now()
	tt := terms()
	tt.NotBefore, tt.Expires = now.UnixMilli(), now.Add(time.Hour).UnixMilli()
	signed := s.Frame(place, tt, frame)
	for _, c := range []struct {
		at   time.Time
		want secure.Reason
	}{
		{now, ""},
		{now.Add(-signing.Leeway + time.Second), ""},
		{now.Add(-signing.Leeway - time.Second), secure.Early},
		{now.Add(time.Hour + signing.Leeway - time.Second), ""},
		{now.Add(time.Hour + signing.Leeway + time.Second), secure.Expired},
	} {
		wants(t, fmt.Sprint(c.at.Sub(now)), s.CheckFrame(place, tt, signed, c.at), c.want)
	}
}

func TestKeysAreRotatedWithoutRefusingAnything(t *testing.T) {
	before := signing.New(secure.Keyring{Sign: oldKey})
	prepared := signing.New(secure.Keyring{Sign: oldKey, Accept: []secure.Key{newKey}})
	moved := signing.New(secure.Keyring{Sign: newKey, Accept: []secure.Key{oldKey}})
	after := signing.New(secure.Keyring{Sign: newKey})
	foreign := signing.New(secure.Keyring{Sign: secure.NewKey("new")}) // the ID, with another secret
	check := func(by, to *signing.Signer) error {
		return by.CheckFrame(place, terms(), to.Frame(place, terms(), frame), time.Now())
	}
	for i, pair := range [][2]*signing.Signer{{before, prepared}, {prepared, prepared}, {prepared, moved}, {moved, prepared}, {moved, moved}, {moved, after}, {after, moved}} {
		wants(t, fmt.Sprint("step ", i), check(pair[0], pair[1]), "")
	}
	wants(t, "the old key afterwards", check(after, before), secure.UnknownKey)
	wants(t, "another secret of the same ID", check(after, foreign), secure.Mismatch)
	var off *signing.Signer
	wants(t, "no signature", check(after, off), secure.Unsigned)
	wants(t, "signing is off", check(off, foreign), "")
	tolerant := signing.New(secure.Keyring{Sign: newKey, AllowUnsigned: true})
	wants(t, "no signature, which is allowed", check(tolerant, off), "")
	wants(t, "a wrong signature where none is needed", check(tolerant, foreign), secure.Mismatch)
	wants(t, "half a signature where none is needed", tolerant.CheckFrame(place, terms(), []byte("~1 new"), time.Now()), secure.Malformed)
}

func TestTextsAreCheckedWithTotalStartAndTime(t *testing.T) {
	s := signing.New(secure.Keyring{Sign: newKey})
	tt := terms()
	sig := s.Text(place, tt, "sum", "cut")
	wants(t, "as signed", s.CheckText(place, tt, sig, time.Now(), "sum", "cut"), "")
	wants(t, "other texts", s.CheckText(place, tt, sig, time.Now(), "sumc", "ut"), secure.Mismatch)
	wants(t, "none", s.CheckText(place, tt, "", time.Now(), "sum", "cut"), secure.Unsigned)
	wants(t, "nonsense", s.CheckText(place, tt, "x", time.Now(), "sum", "cut"), secure.Malformed)
	wants(t, "later", s.CheckText(place, tt, sig, time.Now().Add(2*time.Hour), "sum", "cut"), secure.Expired)
	other := tt
	other.Total = 0
	wants(t, "no calls", s.CheckText(place, other, sig, time.Now(), "sum", "cut"), secure.Mismatch)
	other = tt
	other.NotBefore = 5
	wants(t, "another start", s.CheckText(place, other, sig, time.Now(), "sum", "cut"), secure.Mismatch)
}

func BenchmarkSignAndCheck(b *testing.B) {
	s := signing.New(secure.Keyring{Sign: newKey})
	for _, size := range []int{10, 1 << 10, 64 << 10} {
		data := wire.EncodeArgs(0, 1, make([]byte, size))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.CheckFrame(place, terms(), s.Frame(place, terms(), data), time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
