package e2e_test

import (
	"os"

	"github.com/distpool/distpool/secure"
)

// envKeyring turns signing on for the whole suite: its value is a keyring, as
// secure.ParseKeyring reads it, which every pool and every worker gets.
const envKeyring = "DISTPOOL_E2E_KEYRING"

var suiteKeyring = func() secure.Keyring {
	text := os.Getenv(envKeyring)
	if text == "" {
		return secure.Keyring{}
	}
	ring, err := secure.ParseKeyring(text)
	if err != nil {
		panic(envKeyring + ": " + err.Error())
	}
	return ring
}()
