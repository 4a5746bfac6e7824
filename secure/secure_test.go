package secure_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

func TestAKeyringIsParsedAsItIsWritten(t *testing.T) {
	a, b := secure.NewKey("2026-11"), secure.NewKey("2026-10")
	path := filepath.Join(t.TempDir(), "keys")
	text := "# newest first\n" + a.Line() + " # since November\n\n\t" + b.Line() + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_KEYS", text)
	for what, source := range map[string]secure.Source{"file": secure.FromFile(path), "environment": secure.FromEnv("TEST_KEYS")} {
		r, err := source()
		if err != nil || r.Sign.ID != a.ID || !bytes.Equal(r.Sign.Secret, a.Secret) || len(r.Accept) != 1 || !bytes.Equal(r.Accept[0].Secret, b.Secret) {
			t.Errorf("%s: %v, %v", what, r, err)
		}
	}
}

func TestABadKeyringIsAnErrorThatShowsNoSecret(t *testing.T) {
	const secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA=="
	for _, text := range []string{
		"", "# nothing", secret, "k1:%%%" + secret, "k1:c2VjcmV0", ":" + secret, "k 1:" + secret, "ä:" + secret,
		strings.Repeat("k", 33) + ":" + secret, "k1:" + secret + " k1:" + secret,
	} {
		r, err := secure.ParseKeyring(text)
		if err == nil {
			t.Errorf("%q is a keyring: %v", text, r)
			continue
		}
		if strings.Contains(err.Error(), secret[4:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	if err := (secure.Keyring{AllowUnsigned: true}).Validate(); err == nil {
		t.Error("AllowUnsigned without a key is accepted")
	}
	if _, err := secure.ReadKeyring(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestPrintingAKeyringShowsNoSecret(t *testing.T) {
	k := secure.Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}
	r := secure.Keyring{Sign: k, Accept: []secure.Key{k}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "ring", r)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "ring", r)
	dump, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", r, r, r, k), fmt.Sprintf("%v %+v %#v", &r, &k, struct{ K secure.Key }{k}), log.String(), string(dump)} {
		for _, secret := range []string{"0123456789abcdef", "MDEyMzQ1Njc4OWFiY2RlZj", "48 49 50", "0x30, 0x31", "303132"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s", text)
			}
		}
	}
}

var place = []byte("here")

func TestSealedDataOpensInItsPlaceWithItsKeyOnly(t *testing.T) {
	k1, k2 := secure.NewKey("k1"), secure.NewKey("k2")
	codec := func(ring secure.Keyring) tasks.SealingCodec { return secure.Encrypt(tasks.JSON, secure.From(ring)) }
	old, both, next := codec(secure.Keyring{Sign: k1}), codec(secure.Keyring{Sign: k2, Accept: []secure.Key{k1}}), codec(secure.Keyring{Sign: k2})
	foreign := codec(secure.Keyring{Sign: secure.NewKey("k1")})
	plain := []byte(`["attack at dawn"]`)
	sealed, err := old.Seal(plain, place)
	if err != nil || bytes.Contains(sealed, []byte("dawn")) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if again, _ := old.Seal(plain, place); bytes.Equal(again, sealed) {
		t.Error("the same data is sealed to the same bytes")
	}
	for what, c := range map[string]tasks.SealingCodec{"the same": old, "a ring with the next one": both} {
		if got, err := c.Open(sealed, place); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	if got, err := next.Open(sealed, place); !errors.Is(err, secure.ErrUnknownKey) || !strings.Contains(err.Error(), `"k1"`) {
		t.Errorf("without the key: %q, %v; want ErrUnknownKey that names it", got, err)
	}
	if got, err := foreign.Open(sealed, place); !errors.Is(err, secure.ErrTampered) || !strings.Contains(err.Error(), `"k1"`) {
		t.Errorf("with another secret of the same ID: %q, %v; want ErrTampered", got, err)
	}
	if got, err := old.Open(sealed, []byte("there")); !errors.Is(err, secure.ErrTampered) {
		t.Errorf("in another place: %q, %v; want ErrTampered", got, err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if got, err := old.Open(bad, place); err == nil {
			t.Errorf("byte %d changed: %q", i, got)
		}
		if got, err := old.Open(sealed[:i], place); err == nil {
			t.Errorf("the first %d bytes: %q", i, got)
		}
	}
	if got, err := old.Open(plain, place); !errors.Is(err, secure.ErrTampered) {
		t.Errorf("what is not sealed: %q, %v", got, err)
	}
}

func TestFingerprintsTellEqualDataUnderAnyKeyOfTheRing(t *testing.T) {
	k1, k2 := secure.NewKey("k1"), secure.NewKey("k2")
	old := secure.Encrypt(tasks.JSON, secure.From(secure.Keyring{Sign: k1}))
	both := secure.Encrypt(tasks.JSON, secure.From(secure.Keyring{Sign: k2, Accept: []secure.Key{k1}}))
	a, err := old.Fingerprint([]byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := both.Fingerprint([]byte("x"), a); err != nil || a != b {
		t.Errorf("%q, %v; want %q", b, err, a)
	}
	if b, err := both.Fingerprint([]byte("x"), ""); err != nil || a == b {
		t.Errorf("the newest key gives %q, %v", b, err)
	}
	if b, err := both.Fingerprint([]byte("y"), a); err != nil || a == b {
		t.Errorf("other data give %q, %v", b, err)
	}
}

func TestABadSourceIsTheErrorOfEveryUse(t *testing.T) {
	for what, source := range map[string]secure.Source{"no variable": secure.FromEnv("NO_SUCH_KEYS"), "an empty ring": secure.From(secure.Keyring{})} {
		c := secure.Encrypt(tasks.JSON, source)
		if c.Name() != "aesgcm:json" {
			t.Errorf("the name is %q", c.Name())
		}
		if _, err := c.Seal(nil, place); err == nil || !strings.Contains(err.Error(), "secure.Encrypt") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestACodecThatCannotSplitStaysOne(t *testing.T) {
	plain := struct{ tasks.Codec }{tasks.JSON}
	if _, ok := secure.Encrypt(plain, secure.From(secure.Keyring{})).(tasks.ArrayCodec); ok {
		t.Error("it can split")
	}
	if _, ok := secure.Encrypt(tasks.JSON, secure.From(secure.Keyring{})).(tasks.ArrayCodec); !ok {
		t.Error("JSON cannot be split any more")
	}
}
