package secure

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/distpool/distpool/tasks"
)

var (
	// ErrUnknownKey says that something is encrypted with a key that is not on the
	// keyring.
	ErrUnknownKey = errors.New("the key is not on the keyring")
	// ErrTampered says that something encrypted does not open: it was changed, it
	// was copied from another place, or another secret has the key's ID.
	ErrTampered = errors.New("encrypted data does not open")
)

// Encrypt wraps a codec so that what it encodes is encrypted before it leaves the
// process, with AES-256-GCM under the newest key and a random nonce, and bound to
// its place: job, chunk, and whether it is arguments, values or an error. What is
// encoded still travels in one piece for each chunk.
//
// The messages, types, codes and stacks of failed calls are encrypted too, and
// asynq is not told them. Which calls failed and how (results.Kind), the names of
// tasks and queues, numbers, times and sizes stay readable.
//
// keys is asked once, when the codec is first used; its error, or a keyring without
// a key, is the error of submissions and of worker.Run. AllowUnsigned is not looked
// at: the codec refuses what is not encrypted.
//
// The codec's name is "aesgcm:" and the name of codec, so a program that has the
// wrong one of the two is told so. A key must not encrypt more than 2^32 chunks:
// change it before that, as docs/security.md describes.
func Encrypt(codec tasks.Codec, keys Source) tasks.SealingCodec {
	s := sealing{codec, sync.OnceValues(func() (*sealer, error) { return newSealer(keys) })}
	if array, ok := codec.(tasks.ArrayCodec); ok {
		return sealingArray{s, array}
	}
	return s
}

// sealing is a codec that cannot split what it has encoded, sealingArray one that
// can.
type sealing struct {
	tasks.Codec
	load func() (*sealer, error)
}

type sealingArray struct {
	sealing
	array tasks.ArrayCodec
}

var _ tasks.ArrayCodec = sealingArray{}

func (s sealingArray) Split(data []byte) ([][]byte, error) { return s.array.Split(data) }
func (s sealingArray) Join(items [][]byte) ([]byte, error) { return s.array.Join(items) }

// Name implements tasks.Codec.
func (s sealing) Name() string { return "aesgcm:" + s.Codec.Name() }

// CheckType implements tasks.TypeChecker, for the codec inside.
func (s sealing) CheckType(t reflect.Type) error {
	if c, ok := s.Codec.(tasks.TypeChecker); ok {
		return c.CheckType(t)
	}
	return nil
}

// Seal implements tasks.SealingCodec.
func (s sealing) Seal(data, place []byte) ([]byte, error) {
	k, err := s.load()
	if err != nil {
		return nil, err
	}
	return k.seal(data, place), nil
}

// Open implements tasks.SealingCodec.
func (s sealing) Open(data, place []byte) ([]byte, error) {
	k, err := s.load()
	if err != nil {
		return nil, err
	}
	return k.open(data, place)
}

// Fingerprint implements tasks.SealingCodec.
func (s sealing) Fingerprint(data []byte, like string) (string, error) {
	k, err := s.load()
	if err != nil {
		return "", err
	}
	return k.fingerprint(data, like)
}

// sealer has the keys of a codec.
type sealer struct {
	newest string
	keys   map[string]sealingKey
}

type sealingKey struct {
	aead        cipher.AEAD
	fingerprint []byte
}

func newSealer(keys Source) (*sealer, error) {
	ring, err := keys()
	if err == nil {
		err = ring.Validate()
	}
	if err == nil && ring.IsZero() {
		err = errors.New("the keyring is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("secure.Encrypt: keys: %w", err)
	}
	s := &sealer{newest: ring.Sign.ID, keys: map[string]sealingKey{}}
	for _, k := range ring.Keys() {
		// Keys of their own for each purpose: the same secret may sign, too.
		sub := func(purpose string) []byte {
			b, kerr := hkdf.Key(sha256.New, k.Secret, nil, purpose, 32)
			err = errors.Join(err, kerr)
			return b
		}
		block, berr := aes.NewCipher(sub("distpool encryption 1"))
		if err = errors.Join(err, berr); err != nil {
			return nil, err
		}
		aead, aerr := cipher.NewGCMWithRandomNonce(block)
		if err = errors.Join(err, aerr); err != nil {
			return nil, err
		}
		s.keys[k.ID] = sealingKey{aead, sub("distpool fingerprint 1")}
	}
	return s, err
}

// What is sealed starts with this, the key's ID and a newline. Then come nonce,
// ciphertext and tag.
const sealedMark = "e1 "

func (s *sealer) seal(data, place []byte) []byte {
	aead := s.keys[s.newest].aead
	b := make([]byte, 0, len(sealedMark)+len(s.newest)+1+len(data)+aead.Overhead())
	b = append(append(append(b, sealedMark...), s.newest...), '\n')
	return aead.Seal(b, nil, data, place)
}

func (s *sealer) open(data, place []byte) ([]byte, error) {
	head, _, ok := bytes.Cut(data[:min(len(data), len(sealedMark)+maxKeyID+1)], []byte{'\n'})
	id, marked := bytes.CutPrefix(head, []byte(sealedMark))
	if !ok || !marked {
		return nil, fmt.Errorf("%w: it is not encrypted", ErrTampered)
	}
	sealed := data[len(head)+1:]
	key, ok := s.keys[string(id)]
	if !ok {
		return nil, fmt.Errorf("encrypted with key %q: %w, which has %s", id, ErrUnknownKey, s.names())
	}
	plain, err := key.aead.Open(nil, nil, sealed, place)
	if err != nil {
		return nil, fmt.Errorf("%w with key %q: it was changed or copied from elsewhere, or another secret has this ID", ErrTampered, id)
	}
	if plain == nil {
		plain = []byte{}
	}
	return plain, nil
}

func (s *sealer) names() string {
	return strings.Join(slices.Sorted(maps.Keys(s.keys)), ", ")
}

func (s *sealer) fingerprint(data []byte, like string) (string, error) {
	id := s.newest
	if like != "" {
		id, _, _ = strings.Cut(like, ":")
	}
	key, ok := s.keys[id]
	if !ok {
		return "", fmt.Errorf("fingerprint with key %q: %w, which has %s", id, ErrUnknownKey, s.names())
	}
	h := hmac.New(sha256.New, key.fingerprint)
	_, _ = h.Write(data)
	return id + ":" + hex.EncodeToString(h.Sum(nil)), nil
}
