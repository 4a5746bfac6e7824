package secure

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// MinSecret is the shortest secret that a Key may have, in bytes.
const MinSecret = 32

// maxKeyID is the longest ID: it travels with everything that is signed.
const maxKeyID = 32

// Key is a secret that producers and workers share, and the name of it. Printing
// or logging a Key shows its ID only.
type Key struct {
	ID     string // 1 to 32 ASCII letters, digits and . _ -; it travels and is no secret
	Secret []byte // at least 32 bytes, drawn at random: no password
}

// NewKey draws a key.
func NewKey(id string) Key {
	k := Key{ID: id, Secret: make([]byte, MinSecret)}
	_, _ = rand.Read(k.Secret) // it never fails, and ends the program if it does
	return k
}

// String names the key.
func (k Key) String() string { return fmt.Sprintf("key %q", k.ID) }

// GoString names the key.
func (k Key) GoString() string { return k.String() }

// LogValue names the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID) }

// MarshalText names the key: a Config that is dumped must not give it away.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.ID), nil }

// Line is the key as ParseKeyring reads it, with its secret.
func (k Key) Line() string { return k.ID + ":" + base64.StdEncoding.EncodeToString(k.Secret) }

func (k Key) check() error {
	if k.ID == "" || len(k.ID) > maxKeyID {
		return fmt.Errorf("the ID %q of a key has %d bytes; use 1 to %d ASCII letters, digits and . _ -", k.ID, len(k.ID), maxKeyID)
	}
	for _, r := range k.ID {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return fmt.Errorf("the ID %q of a key has %q in it; use 1 to %d ASCII letters, digits and . _ -", k.ID, r, maxKeyID)
		}
	}
	if len(k.Secret) < MinSecret {
		return fmt.Errorf("the secret of key %q has %d bytes; use at least %d random ones (head -c 32 /dev/urandom | base64)", k.ID, len(k.Secret), MinSecret)
	}
	return nil
}

// Keyring is the keys of a program. The zero Keyring has none: nothing is signed
// or checked.
type Keyring struct {
	// Sign is the key that is used for what this program sends.
	Sign Key

	// Accept are further keys, which are good for what others have sent: those that
	// were used before, and those that will be. Sign is accepted without being
	// listed.
	Accept []Key

	// AllowUnsigned lets what has no signature pass as if there were no keyring,
	// while a fleet gets its first keys. A wrong signature is refused all the same;
	// but who can write to Redis can leave it out, so nothing is safe before this is
	// off. Encryption does not look at it. Defaults to false.
	AllowUnsigned bool
}

// IsZero reports whether the keyring has no keys.
func (r Keyring) IsZero() bool {
	return r.Sign.ID == "" && len(r.Sign.Secret) == 0 && len(r.Accept) == 0
}

// Keys are all keys of the ring, Sign first.
func (r Keyring) Keys() []Key { return append([]Key{r.Sign}, r.Accept...) }

// Validate says what is wrong with the keyring. The zero one is fine.
func (r Keyring) Validate() error {
	if r.IsZero() {
		if r.AllowUnsigned {
			return errors.New("AllowUnsigned is set without a key; leave it out, or set Sign")
		}
		return nil
	}
	known := map[string]bool{}
	for _, k := range r.Keys() {
		if err := k.check(); err != nil {
			return err
		}
		if known[k.ID] {
			return fmt.Errorf("two keys have the ID %q; a new secret needs a new ID", k.ID)
		}
		known[k.ID] = true
	}
	return nil
}

// ParseKeyring reads keys that are written as id:secret, the secret in base64,
// separated by white space. The first one is Sign, the others are Accept. What
// follows a # in a line is a comment. Text without a key is an error, and no error
// shows a secret.
func ParseKeyring(text string) (Keyring, error) {
	var keys []Key
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, field := range strings.Fields(line) {
			id, secret, ok := strings.Cut(field, ":")
			if !ok {
				return Keyring{}, fmt.Errorf("key %d of a keyring is not written as id:secret", len(keys)+1)
			}
			raw, err := base64.StdEncoding.DecodeString(secret)
			if err != nil {
				return Keyring{}, fmt.Errorf("the secret of key %q is not base64 (head -c 32 /dev/urandom | base64 makes one)", id)
			}
			k := Key{id, raw}
			if err := k.check(); err != nil { // here: an empty one alone would pass for no keyring
				return Keyring{}, err
			}
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return Keyring{}, errors.New("a keyring without a key; write id:secret, the secret in base64")
	}
	r := Keyring{Sign: keys[0], Accept: keys[1:]}
	return r, r.Validate()
}

// ReadKeyring is ParseKeyring of a file.
func ReadKeyring(path string) (Keyring, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Keyring{}, fmt.Errorf("reading a keyring: %w", err)
	}
	r, err := ParseKeyring(string(text))
	if err != nil {
		return Keyring{}, fmt.Errorf("keyring %s: %w", path, err)
	}
	return r, nil
}

// Source gives a keyring when it is first needed: tasks are often package
// variables, which are made before a program has read its configuration.
type Source func() (Keyring, error)

// FromFile reads the file when the keyring is first needed.
func FromFile(path string) Source { return func() (Keyring, error) { return ReadKeyring(path) } }

// FromEnv parses the environment variable when the keyring is first needed.
func FromEnv(name string) Source {
	return func() (Keyring, error) {
		r, err := ParseKeyring(os.Getenv(name))
		if err != nil {
			return Keyring{}, fmt.Errorf("environment variable %s: %w", name, err)
		}
		return r, nil
	}
}

// From gives a keyring that is known already.
func From(r Keyring) Source { return func() (Keyring, error) { return r, r.Validate() } }
