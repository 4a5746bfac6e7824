// Package signing makes and checks the signatures of what travels through Redis:
// HMAC-SHA256 over what makes a worker run something, and over what it answers.
// The line that carries a signature is package wire's.
package signing

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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

func code(key []byte, sig wire.Signature, p Place, t Terms, data ...[]byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	b := append(p.Bytes(), "\x00"...)
	b = appendText(b, sig.Key, t.Codec, t.Queue, t.Policy)
	for _, n := range []int64{sig.NotBefore, sig.Expires, int64(sig.Total)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, d := range data {
		b = binary.BigEndian.AppendUint64(b, uint64(len(d)))
	}
	_, _ = h.Write(b) // a hash takes everything
	for _, d := range data {
		_, _ = h.Write(d)
	}
	h.Sum(sum[:0])
	return sum
}

func (s *Signer) signature(p Place, t Terms, data ...[]byte) wire.Signature {
	sig := wire.Signature{Key: s.newest, NotBefore: t.NotBefore, Expires: t.Expires, Total: t.Total}
	sig.MAC = code(s.keys[s.newest], sig, p, t, data...)
	return sig
}

// Frame signs a frame.
func (s *Signer) Frame(p Place, t Terms, frame []byte) []byte {
	if s == nil {
		return frame
	}
	return wire.Sign(s.signature(p, t, frame), frame)
}

// Text signs texts, and returns a signature that is kept apart from them.
func (s *Signer) Text(p Place, t Terms, texts ...string) string {
	if s == nil {
		return ""
	}
	return string(s.signature(p, t, appendText(nil, texts...)).Line())
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
	sig, inner, err := wire.CutSignature(frame)
	if err := s.check(p, t, sig, err, inner); err != nil {
		return err
	}
	switch atMs := now.UnixMilli(); {
	case sig.Expires > 0 && atMs > sig.Expires+Leeway.Milliseconds():
		return &Error{p.What, secure.Expired, sig.Key, fmt.Sprintf("the %s were signed for use until %s, and are a copy or very late; see Config.JobTTL", things(p.What), stamp(sig.Expires))}
	case sig.NotBefore > 0 && atMs < sig.NotBefore-Leeway.Milliseconds():
		return &Error{p.What, secure.Early, sig.Key, fmt.Sprintf("the %s were signed for use from %s on", things(p.What), stamp(sig.NotBefore))}
	case t.Total > 0 && sig.Total >= 0 && sig.Total != t.Total:
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
	sig, err := wire.ParseSignature([]byte(signature))
	if err := s.check(p, t, sig, err, appendText(nil, texts...)); err != nil {
		return err
	}
	switch {
	case sig.Total >= 0 && sig.Total != t.Total:
		return totalDiffers(p, t, sig)
	case sig.NotBefore != t.NotBefore:
		return &Error{p.What, secure.Mismatch, sig.Key, "the record's time of start is not the one that was signed"}
	case sig.Expires > 0 && now.UnixMilli() > sig.Expires+Leeway.Milliseconds():
		return &Error{p.What, secure.Expired, sig.Key, fmt.Sprintf("the job was signed for use until %s, and is a copy", stamp(sig.Expires))}
	}
	return nil
}

func totalDiffers(p Place, t Terms, sig wire.Signature) error {
	return &Error{p.What, secure.Mismatch, sig.Key, fmt.Sprintf("the record says that the job has %d calls, but it was signed with %d", t.Total, sig.Total)}
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

// check checks a signature, which was parsed with the given error.
func (s *Signer) check(p Place, t Terms, sig wire.Signature, parsed error, data []byte) error {
	if parsed != nil {
		return &Error{p.What, secure.Malformed, "", fmt.Sprintf("the signature of the %s does not parse: %v", p.What, parsed)}
	}
	key, ok := s.keys[sig.Key]
	if !ok {
		return &Error{p.What, secure.UnknownKey, sig.Key, fmt.Sprintf("the %s are signed with key %q, which is not on the keyring here", things(p.What), sig.Key)}
	}
	if want := code(key, sig, p, t, data); !hmac.Equal(want[:], sig.MAC[:]) {
		return &Error{p.What, secure.Mismatch, sig.Key, fmt.Sprintf("the %s are not what was signed with key %q: they were changed or copied from elsewhere, or another secret has this ID", things(p.What), sig.Key)}
	}
	return nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
