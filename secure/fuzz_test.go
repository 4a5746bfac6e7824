package secure_test

import (
	"bytes"
	"testing"

	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

func FuzzOpen(f *testing.F) {
	c := secure.Encrypt(tasks.JSON, secure.From(secure.Keyring{Sign: secure.Key{ID: "k1", Secret: make([]byte, 32)}}))
	sealed, err := c.Seal([]byte("[1]"), place)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte("e1 k1\n"))
	f.Add([]byte("e1 \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The seed is sealed anew in each process of a fuzzing run.
		if got, err := c.Open(data, place); err == nil && !bytes.Equal(got, []byte("[1]")) {
			t.Fatalf("%q opens as %q", data, got)
		}
	})
}

func FuzzParseKeyring(f *testing.F) {
	f.Add("k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= # x\nk2:")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := secure.ParseKeyring(text)
		if err == nil && (r.IsZero() || r.Validate() != nil) {
			t.Fatalf("%q is accepted as %v", text, r)
		}
	})
}
