// Package keyfile is how distpool's programs get their keys: from a file that an
// operator names. docs/security.md says what is in it.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// Env is the environment variable that names the file when no flag does.
const Env = "DISTPOOL_KEYRING"

// maxSize is far more than the keys that anybody accepts at one time, and little
// enough to have named the wrong file without harm.
const maxSize = 1 << 20

// Load reads the keyring of the file, or of the one that Env names when path is
// empty; the zero Keyring when that names none either. warning is what is wrong
// with the file though it can be used: others may read it.
func Load(path string) (ring secure.Keyring, warning string, err error) {
	from := ""
	if path == "" {
		if path = os.Getenv(Env); path == "" {
			return secure.Keyring{}, "", nil
		}
		from = " (named by " + Env + ")"
	}
	where := path + from
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return secure.Keyring{}, "", fmt.Errorf("keyring %s: no such file; make one with: echo \"key1:$(head -c 32 /dev/urandom | base64)\" > %s", where, path)
	}
	if err != nil {
		return secure.Keyring{}, "", fmt.Errorf("keyring %s: %w; this program's user must be able to read it", where, unwrapped(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return secure.Keyring{}, "", fmt.Errorf("keyring %s: %w", where, unwrapped(err))
	}
	if len(text) > maxSize {
		return secure.Keyring{}, "", fmt.Errorf("keyring %s: it has more than %d bytes, so it is no keyring", where, maxSize)
	}
	ring, err = secure.ParseKeyring(string(text))
	if err != nil {
		return secure.Keyring{}, "", fmt.Errorf("keyring %s: %w", where, err)
	}
	info, err := f.Stat()
	if err != nil {
		return secure.Keyring{}, "", fmt.Errorf("keyring %s: %w", where, unwrapped(err))
	}
	return ring, exposed(path, info.Mode()), nil
}

// exposed warns of a file that is open to more than its owner and group. The group
// may read it: that is how a secret is given to a service that does not own it.
func exposed(path string, mode fs.FileMode) string {
	const groupWrite, others = 0o020, 0o007
	if runtime.GOOS == "windows" || !mode.IsRegular() || mode&(groupWrite|others) == 0 {
		return ""
	}
	what := "others may use the keys in it"
	if mode&(groupWrite|0o002) != 0 {
		what = "more than its owner may write to it"
	}
	return fmt.Sprintf("the keyring %s has mode %04o: %s; run: chmod 600 %s", path, mode.Perm(), what, path)
}

// unwrapped leaves the path out, which is said already.
func unwrapped(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Encrypted is the JSON codec, encrypting with the keys of the ring.
func Encrypted(ring secure.Keyring) tasks.Codec {
	return secure.Encrypt(tasks.JSON, secure.From(ring))
}
