// Package signing makes and checks the signatures of what travels through Redis:
// HMAC-SHA256 over what makes a worker run something, and over what it answers.
package signing

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/secure"
)

// Leeway is how far the clocks of producers and workers may differ before a job is
// refused for its times.
const Leeway = time.Minute

// Signer signs with the newest key and accepts all of a keyring. The nil Signer
// signs nothing and accepts everything: signing is off. It is safe for concurrent
// use.
type Signer struct {
	newest        string
	keys          map[string][]byte // ID -> what the codes are made with
	allowUnsigned bool
}

// New makes the Signer of a keyring that is valid; nil for the zero one.
func New(ring secure.Keyring) *Signer {
	if ring.IsZero() {
		return nil
	}
	s := &Signer{newest: ring.Sign.ID, keys: map[string][]byte{}, allowUnsigned: ring.AllowUnsigned}
	for _, k := range ring.Keys() {
		// A key of its own for this purpose: the same secret may encrypt, too.
		mac, err := hkdf.Key(sha256.New, k.Secret, nil, "distpool signature 1", sha256.Size)
		if err != nil {
			panic("distpool: deriving a key: " + err.Error()) // only of a length that HKDF does not have
		}
		s.keys[k.ID] = mac
	}
	return s
}

// Ref names a job: its address, and the generation that tells jobs of one chosen name apart.
type Ref struct{ ID, Gen string }

// Place is where something belongs. What was signed for one place is refused in
// every other.
type Place struct {
	What  string // as in secure.Refusal
	Job   Ref
	Task  string
	Chunk int // -1: of no chunk
}

// Bytes is the place in a form that no other place has.
func (p Place) Bytes() []byte {
	b := make([]byte, 0, 128)
	b = appendText(b, p.What, p.Job.ID, p.Job.Gen, p.Task)
	return binary.BigEndian.AppendUint64(b, uint64(p.Chunk))
}

// Terms are how a job is to be run.
type Terms struct {
	Codec     string
	Queue     string
	Policy    string
	NotBefore int64 // Unix time in ms; 0: none
	Expires   int64 // Unix time in ms; 0: never
	Total     int   // calls of the job; -1: not known yet
}

// appendText appends texts so that no two lists of them are the same bytes.
func appendText(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}

// signature is what the line before a signed frame says, or the text that is kept apart:
//
//	~1 <key ID> <not before> <expires> <total> <MAC, hexadecimal>
type signature struct {
	key                string
	notBefore, expires int64 // as in Terms
	total              int
	mac                [sha256.Size]byte
}

func (s signature) line() string {
	return fmt.Sprintf("~1 %s %d %d %d %x", s.key, s.notBefore, s.expires, s.total, s.mac)
}

// parse undoes line. A signature has one form: what does not parse comes out as another line.
func parse(line string) (s signature, err error) {
	if f := strings.Split(line, " "); len(f) == 6 && len(f[5]) == hex.EncodedLen(len(s.mac)) {
		s.key = f[1]
		s.notBefore, _ = strconv.ParseInt(f[2], 10, 64)
		s.expires, _ = strconv.ParseInt(f[3], 10, 64)
		s.total, _ = strconv.Atoi(f[4])
		_, _ = hex.Decode(s.mac[:], []byte(f[5]))
	}
	if s.key == "" || s.line() != line {
		return signature{}, fmt.Errorf("%.80q is no signature that this version of distpool reads", line)
	}
	return s, nil
}

// code is the MAC of a signature of data.
func (s signature) code(secret []byte, p Place, t Terms, data []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, secret)
	b := append(p.Bytes(), "\x00"...)
	b = appendText(b, s.key, t.Codec, t.Queue, t.Policy)
	for _, n := range []int64{s.notBefore, s.expires, int64(s.total)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	_, _ = h.Write(binary.BigEndian.AppendUint64(b, uint64(len(data)))) // a hash takes everything
	_, _ = h.Write(data)
	h.Sum(sum[:0])
	return sum
}

func (s *Signer) sign(p Place, t Terms, data []byte) string {
	sig := signature{key: s.newest, notBefore: t.NotBefore, expires: t.Expires, total: t.Total}
	sig.mac = sig.code(s.keys[s.newest], p, t, data)
	return sig.line()
}

// Frame signs a frame: it puts the signature before it.
func (s *Signer) Frame(p Place, t Terms, frame []byte) []byte {
	if s == nil {
		return frame
	}
	return slices.Concat([]byte(s.sign(p, t, frame)+"\n"), frame)
}

// Text signs texts, and returns a signature that is kept apart from them.
func (s *Signer) Text(p Place, t Terms, texts ...string) string {
	if s == nil {
		return ""
	}
	return s.sign(p, t, appendText(nil, texts...))
}

// Error is why something was refused.
type Error struct {
	What   string
	Reason secure.Reason
	Key    string // with which it claims to be signed
	detail string
}

func (e *Error) Error() string { return e.detail }

// CheckFrame checks a frame that is to be used at the place. Of the terms only
// codec, queue, policy and total are looked at: the times are those that were
// signed, and must include now. A Total of 0 is not compared.
func (s *Signer) CheckFrame(p Place, t Terms, frame []byte, now time.Time) error {
	if s == nil || !wire.IsSigned(frame) {
		return s.unsigned(p)
	}
	line, inner, _ := wire.CutSignature(frame)
	sig, err := s.check(p, t, string(line), inner, now)
	switch {
	case err != nil:
		return err
	case sig.notBefore > 0 && now.UnixMilli() < sig.notBefore-Leeway.Milliseconds():
		return &Error{p.What, secure.Early, sig.key, fmt.Sprintf("the %s were signed for use from %s on", things(p.What), stamp(sig.notBefore))}
	case t.Total > 0 && sig.total >= 0 && sig.total != t.Total:
		return totalDiffers(p, t, sig)
	}
	return nil
}

// CheckText checks texts against a signature that was kept apart from them. t has
// the total and the start that the record claims.
func (s *Signer) CheckText(p Place, t Terms, signature string, now time.Time, texts ...string) error {
	if s == nil || signature == "" {
		return s.unsigned(p)
	}
	sig, err := s.check(p, t, signature, appendText(nil, texts...), now)
	switch {
	case err != nil:
		return err
	case sig.total >= 0 && sig.total != t.Total:
		return totalDiffers(p, t, sig)
	case sig.notBefore != t.NotBefore:
		return &Error{p.What, secure.Mismatch, sig.key, "the record's time of start is not the one that was signed"}
	}
	return nil
}

func totalDiffers(p Place, t Terms, sig signature) error {
	return &Error{p.What, secure.Mismatch, sig.key, fmt.Sprintf("the record says that the job has %d calls, but it was signed with %d", t.Total, sig.total)}
}

// things says what was refused, in the plural.
func things(what string) string {
	switch what {
	case secure.JobRecord:
		return "terms of the job"
	case secure.Checkpoint:
		return "outcomes in the checkpoint"
	}
	return what
}

func (s *Signer) unsigned(p Place) error {
	if s == nil || s.allowUnsigned {
		return nil
	}
	return &Error{p.What, secure.Unsigned, "", fmt.Sprintf("the %s have no signature; give their writer the keyring", things(p.What))}
}

// check checks a signature of data, and that it has not expired.
func (s *Signer) check(p Place, t Terms, line string, data []byte, now time.Time) (signature, error) {
	sig, err := parse(line)
	if err != nil {
		return sig, &Error{p.What, secure.Malformed, "", fmt.Sprintf("the signature of the %s does not parse: %v", p.What, err)}
	}
	secret, ok := s.keys[sig.key]
	want := sig.code(secret, p, t, data)
	switch {
	case !ok:
		return sig, &Error{p.What, secure.UnknownKey, sig.key, fmt.Sprintf("the %s are signed with key %q, which is not on the keyring here", things(p.What), sig.key)}
	case !hmac.Equal(want[:], sig.mac[:]):
		return sig, &Error{p.What, secure.Mismatch, sig.key, fmt.Sprintf("the %s are not what was signed with key %q: they were changed or copied from elsewhere, or another secret has this ID", things(p.What), sig.key)}
	case sig.expires > 0 && now.UnixMilli() > sig.expires+Leeway.Milliseconds():
		return sig, &Error{p.What, secure.Expired, sig.key, fmt.Sprintf("the %s were signed for use until %s, and are a copy or very late; see Config.JobTTL", things(p.What), stamp(sig.expires))}
	}
	return sig, nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
