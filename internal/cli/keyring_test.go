package cli_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/secure"
)

func keyFile(t *testing.T, keys ...secure.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(k.Line() + "\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAWorkerWithAKeyringRunsOnlyWhatIsSigned(t *testing.T) {
	s := newSite(t)
	old, newer := secure.NewKey("old"), secure.NewKey("new")
	log := s.worker(t, "-keyring", keyFile(t, newer, old))
	mine := keyFile(t, old) // changing keys: it does not know the new one yet
	if got := s.run(t, "", "apply", "square", "12"); got.Code != console.ExitNoResult || got.Out != "" || !strings.Contains(got.Err, "have no signature") {
		t.Errorf("unsigned: %+v", got)
	}
	foreign := keyFile(t, secure.NewKey("theirs"))
	if got := s.run(t, "", "apply", "square", "12", "--keyring", foreign); got.Code != console.ExitNoResult || !strings.Contains(got.Err, `key "theirs"`) {
		t.Errorf("foreign key: %+v", got)
	}
	both := keyFile(t, old, newer)
	if got := s.run(t, "", "apply", "square", "12", "--keyring", both); got != clitest.OK("144\n") {
		t.Errorf("signed: %+v", got)
	}
	if got := s.runIn(clitest.Bounded(t), t, "2\n3\n", []string{"DISTPOOL_KEYRING=" + both}, "imap", "square"); got != clitest.OK("4\n9\n") {
		t.Errorf("by the environment: %+v", got)
	}
	// It signs with the new key, which is not on this ring.
	if got := s.run(t, "", "apply", "square", "12", "--keyring", mine); got.Code != console.ExitNoResult || !strings.Contains(got.Err, `key "new"`) {
		t.Errorf("outcome of an unknown key: %+v", got)
	}
	for _, want := range []string{`keys="new, old"`, "refusing a job because of its signature", "unsigned"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the worker's log:\n%s", want, log)
		}
	}
	for _, command := range []string{"get", "retry-failed"} { // what somebody else has put there
		plain := s.submitted(t, "apply", "square", "12", "--queue", "lonely")
		if got := s.run(t, "", "cancel", plain); got.Code != console.ExitOK {
			t.Fatalf("%+v", got)
		}
		if got := s.run(t, "", command, plain, "--keyring", both); got.Code != console.ExitNoResult || !strings.Contains(got.Err, "the terms of the job have no signature") {
			t.Errorf("%s of an unsigned job: %+v", command, got)
		}
	}
	id := s.submitted(t, "map", "fail", `"a"`, `"b"`, "--keyring", both)
	if got := s.run(t, "", "get", id, "--keyring", both); got.Code != console.ExitCallFailed {
		t.Errorf("get: %+v", got)
	}
	if got := s.run(t, "", "retry-failed", id, "--keyring", both); got.Code != console.ExitCallFailed || !strings.HasPrefix(got.Out, "0\t") {
		t.Errorf("retry-failed: %+v", got)
	}
}

func TestWorkersTakeUnsignedJobsWhileTheFirstKeysAreGivenOut(t *testing.T) {
	s := newSite(t)
	keys := keyFile(t, secure.NewKey("k"))
	s.worker(t, "-keyring", keys, "-allow-unsigned")
	if got := s.run(t, "", "apply", "square", "12"); got != clitest.OK("144\n") {
		t.Errorf("unsigned: %+v", got)
	}
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys); got != clitest.OK("144\n") {
		t.Errorf("signed: %+v", got)
	}
}

func TestArgumentsAndValuesCanBeEncrypted(t *testing.T) {
	s := newSite(t)
	keys := keyFile(t, secure.NewKey("k"))
	s.worker(t, "-keyring", keys, "-encrypt")
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys, "--encrypt"); got != clitest.OK("144\n") {
		t.Errorf("%+v", got)
	}
	if got := s.run(t, "3\n", "imap", "square", "--keyring", keys, "--encrypt"); got != clitest.OK("9\n") {
		t.Errorf("imap: %+v", got)
	}
	id := s.submitted(t, "apply", "fail", `"TOPSECRET"`, "--keyring", keys, "--encrypt")
	for _, command := range []string{"get", "retry-failed"} { // they see by the record that it is encrypted
		if got := s.run(t, "", command, id, "--keyring", keys); got.Code != console.ExitCallFailed || !strings.Contains(got.Out, "TOPSECRET") {
			t.Errorf("%s: %+v", command, got)
		}
		if got := s.run(t, "", command, id); got.Code != console.ExitNoResult || got.Out != "" || !strings.Contains(got.Err, "--keyring") || strings.Contains(got.Err, "TOPSECRET") {
			t.Errorf("%s without keys: %+v", command, got)
		}
	}
	for _, form := range [][]string{{"job", id}, {"job", id, "--json"}} {
		if got := s.run(t, "", form...); got.Code != console.ExitOK || strings.Contains(got.Out, "TOPSECRET") || strings.Count(got.Out, "encrypted") != 2 {
			t.Errorf("%q without keys, want message and arguments to be called encrypted: %+v", form, got)
		}
		if got := s.run(t, "", append(form, "--keyring", keyFile(t, secure.NewKey("theirs")))...); got.Code != console.ExitOK || strings.Contains(got.Out, "TOPSECRET") || !strings.Contains(got.Out, "not on the keyring") {
			t.Errorf("%q with another key: %+v", form, got)
		}
		if got := s.runIn(clitest.Bounded(t), t, "", []string{"DISTPOOL_KEYRING=" + keys}, form...); got.Code != console.ExitOK || strings.Count(got.Out, "TOPSECRET") != 2 || strings.Contains(got.Out, "encrypted") {
			t.Errorf("%q with the keys, want message and arguments: %+v", form, got)
		}
	}
	if got := s.run(t, "", "monitor", "--keyring", keys+".gone", "--addr", "127.0.0.1:0"); got.Code != console.ExitUsage || !strings.Contains(got.Err, "no such file") {
		t.Errorf("monitor without its key file: %+v", got)
	}
	if page := s.monitored(t, "/jobs/"+id, "--keyring", keys); !strings.Contains(page, "<code>&#34;TOPSECRET&#34;</code>") {
		t.Errorf("the monitor does not show the argument: %s", page)
	}
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys); got.Code != console.ExitCallFailed || !strings.Contains(got.Err, "codec") {
		t.Errorf("not encrypted: %+v", got)
	}
	if got := s.run(t, "", "apply", "square", "12", "--encrypt"); got.Code != console.ExitUsage || !strings.Contains(got.Err, "--keyring") {
		t.Errorf("without keys: %+v", got)
	}
}

// monitored is a page of a monitor process.
func (s site) monitored(t *testing.T, path string, args ...string) string {
	t.Helper()
	m := s.monitor(t, args...)
	defer m.stop()
	resp, err := http.Get(m.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s, %v", path, resp.Status, err)
	}
	return string(body)
}

func TestAKeyringThatOthersMayReadIsAWarning(t *testing.T) {
	s := newSite(t)
	keys := keyFile(t, secure.NewKey("k"))
	if err := os.Chmod(keys, 0o644); err != nil {
		t.Fatal(err)
	}
	log := s.worker(t, "-keyring", keys)
	got := s.run(t, "", "apply", "square", "12", "--keyring", keys)
	if got.Code != console.ExitOK || got.Out != "144\n" || !strings.Contains(got.Err, "chmod 600 "+keys) {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(log.String(), "chmod 600 "+keys) {
		t.Errorf("the worker does not warn:\n%s", log)
	}
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys+".gone"); got.Code != console.ExitUsage || !strings.Contains(got.Err, "no such file") {
		t.Errorf("no file: %+v", got)
	}
}
