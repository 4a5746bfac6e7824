package keyfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/secure"
)

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // WriteFile's is cut by the umask
		t.Fatal(err)
	}
	return path
}

func TestTheKeysComeFromTheFlagsFileOrElseTheEnvironments(t *testing.T) {
	t.Setenv(keyfile.Env, "")
	if ring, warning, err := keyfile.Load(""); err != nil || warning != "" || !ring.IsZero() {
		t.Errorf("without a file: %v, %q, %v", ring, warning, err)
	}
	one, two := secure.NewKey("one"), secure.NewKey("two")
	flag := write(t, "# newest first\n"+one.Line()+"\n"+two.Line()+" # old\n", 0o600)
	t.Setenv(keyfile.Env, write(t, two.Line(), 0o600))
	if ring, warning, err := keyfile.Load(flag); err != nil || warning != "" || ring.Sign.ID != "one" || len(ring.Accept) != 1 {
		t.Errorf("flag: %v, %q, %v", ring, warning, err)
	}
	if ring, _, err := keyfile.Load(""); err != nil || ring.Sign.ID != "two" {
		t.Errorf("environment: %v, %v", ring, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(one.Line()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if ring, warning, err := keyfile.Load(fmt.Sprintf("/dev/fd/%d", r.Fd())); err != nil || warning != "" || ring.Sign.ID != "one" {
		t.Errorf("pipe: %v, %q, %v", ring, warning, err)
	}
}

func TestAFileThatOthersMayUseIsWarnedOf(t *testing.T) {
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o400: "", 0o640: "", 0o440: "",
		0o644: "others may use the keys", 0o604: "others may use the keys", 0o444: "others may use the keys",
		0o660: "may write", 0o666: "may write", 0o602: "may write",
	} {
		path := write(t, secure.NewKey("k").Line(), mode)
		ring, warning, err := keyfile.Load(path)
		if err != nil || ring.IsZero() {
			t.Errorf("%o: %v", mode, err)
		}
		if (want == "") != (warning == "") || !strings.Contains(warning, want) {
			t.Errorf("%o: warning %q, want %q", mode, warning, want)
		}
		if want != "" && !strings.Contains(warning, "chmod 600 "+path) {
			t.Errorf("%o: no remedy in %q", mode, warning)
		}
	}
}

func TestWhatIsWrongWithTheFileIsSaidWithoutItsSecrets(t *testing.T) {
	dir := t.TempDir()
	const secret = "c2VjcmV0c2VjcmV0"
	for path, want := range map[string]string{
		filepath.Join(dir, "gone"):       "/dev/urandom",
		dir:                              "directory",
		write(t, "", 0o600):              "without a key",
		write(t, secret, 0o600):          "id:secret",
		write(t, "k:"+secret, 0o600):     "12 bytes",
		write(t, "k:"+secret+"!", 0o600): "base64",
		write(t, strings.Repeat("#"+secret+"\n", 100_000), 0o600): "no keyring",
	} {
		_, _, err := keyfile.Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: error %v, want one with %q", path, err, want)
		}
		t.Setenv(keyfile.Env, path)
		if _, _, err := keyfile.Load(""); err == nil || !strings.Contains(err.Error(), keyfile.Env) {
			t.Errorf("%s: error %v does not say that the environment names it", path, err)
		}
	}
}
