package cli_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/cli"
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
	if got := s.run(t, "", "apply", "square", "12"); got.code != cli.ExitNoResult || got.out != "" || !strings.Contains(got.err, "have no signature") {
		t.Errorf("unsigned: %+v", got)
	}
	foreign := keyFile(t, secure.NewKey("theirs"))
	if got := s.run(t, "", "apply", "square", "12", "--keyring", foreign); got.code != cli.ExitNoResult || !strings.Contains(got.err, `key "theirs"`) {
		t.Errorf("foreign key: %+v", got)
	}
	both := keyFile(t, old, newer)
	if got := s.run(t, "", "apply", "square", "12", "--keyring", both); got != (outcome{cli.ExitOK, "144\n", ""}) {
		t.Errorf("signed: %+v", got)
	}
	if got := s.runIn(bounded(t), t, "2\n3\n", []string{"DISTPOOL_KEYRING=" + both}, "imap", "square"); got != (outcome{cli.ExitOK, "4\n9\n", ""}) {
		t.Errorf("by the environment: %+v", got)
	}
	// It signs with the new key, which is not on this ring.
	if got := s.run(t, "", "apply", "square", "12", "--keyring", mine); got.code != cli.ExitNoResult || !strings.Contains(got.err, `key "new"`) {
		t.Errorf("outcome of an unknown key: %+v", got)
	}
	for _, want := range []string{`keys="new, old"`, "refusing a job because of its signature", "unsigned"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the worker's log:\n%s", want, log)
		}
	}
	for _, command := range []string{"get", "retry-failed"} { // what somebody else has put there
		plain := s.submitted(t, "apply", "square", "12", "--queue", "lonely")
		if got := s.run(t, "", "cancel", plain); got.code != cli.ExitOK {
			t.Fatalf("%+v", got)
		}
		if got := s.run(t, "", command, plain, "--keyring", both); got.code != cli.ExitNoResult || !strings.Contains(got.err, "the terms of the job have no signature") {
			t.Errorf("%s of an unsigned job: %+v", command, got)
		}
	}
	id := s.submitted(t, "map", "fail", `"a"`, `"b"`, "--keyring", both)
	if got := s.run(t, "", "get", id, "--keyring", both); got.code != cli.ExitCallFailed {
		t.Errorf("get: %+v", got)
	}
	if got := s.run(t, "", "retry-failed", id, "--keyring", both); got.code != cli.ExitCallFailed || !strings.HasPrefix(got.out, "0\t") {
		t.Errorf("retry-failed: %+v", got)
	}
}

func TestWorkersTakeUnsignedJobsWhileTheFirstKeysAreGivenOut(t *testing.T) {
	s := newSite(t)
	keys := keyFile(t, secure.NewKey("k"))
	s.worker(t, "-keyring", keys, "-allow-unsigned")
	if got := s.run(t, "", "apply", "square", "12"); got != (outcome{cli.ExitOK, "144\n", ""}) {
		t.Errorf("unsigned: %+v", got)
	}
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys); got != (outcome{cli.ExitOK, "144\n", ""}) {
		t.Errorf("signed: %+v", got)
	}
}

func TestArgumentsAndValuesCanBeEncrypted(t *testing.T) {
	s := newSite(t)
	keys := keyFile(t, secure.NewKey("k"))
	s.worker(t, "-keyring", keys, "-encrypt")
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys, "--encrypt"); got != (outcome{cli.ExitOK, "144\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got := s.run(t, "3\n", "imap", "square", "--keyring", keys, "--encrypt"); got != (outcome{cli.ExitOK, "9\n", ""}) {
		t.Errorf("imap: %+v", got)
	}
	id := s.submitted(t, "apply", "fail", `"TOPSECRET"`, "--keyring", keys, "--encrypt")
	for _, command := range []string{"get", "retry-failed"} { // they see by the record that it is encrypted
		if got := s.run(t, "", command, id, "--keyring", keys); got.code != cli.ExitCallFailed || !strings.Contains(got.out, "TOPSECRET") {
			t.Errorf("%s: %+v", command, got)
		}
		if got := s.run(t, "", command, id); got.code != cli.ExitNoResult || got.out != "" || !strings.Contains(got.err, "--keyring") || strings.Contains(got.err, "TOPSECRET") {
			t.Errorf("%s without keys: %+v", command, got)
		}
	}
	for _, form := range [][]string{{"job", id}, {"job", id, "--json"}} {
		if got := s.run(t, "", form...); got.code != cli.ExitOK || strings.Contains(got.out, "TOPSECRET") || strings.Count(got.out, "encrypted") != 2 {
			t.Errorf("%q without keys, want message and arguments to be called encrypted: %+v", form, got)
		}
		if got := s.run(t, "", append(form, "--keyring", keyFile(t, secure.NewKey("theirs")))...); got.code != cli.ExitOK || strings.Contains(got.out, "TOPSECRET") || !strings.Contains(got.out, "not on the keyring") {
			t.Errorf("%q with another key: %+v", form, got)
		}
		if got := s.runIn(bounded(t), t, "", []string{"DISTPOOL_KEYRING=" + keys}, form...); got.code != cli.ExitOK || strings.Count(got.out, "TOPSECRET") != 2 || strings.Contains(got.out, "encrypted") {
			t.Errorf("%q with the keys, want message and arguments: %+v", form, got)
		}
	}
	if got := s.run(t, "", "monitor", "--keyring", keys+".gone", "--addr", "127.0.0.1:0"); got.code != cli.ExitUsage || !strings.Contains(got.err, "no such file") {
		t.Errorf("monitor without its key file: %+v", got)
	}
	if page := s.monitored(t, "/jobs/"+id, "--keyring", keys); !strings.Contains(page, "<code>&#34;TOPSECRET&#34;</code>") {
		t.Errorf("the monitor does not show the argument: %s", page)
	}
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys); got.code != cli.ExitCallFailed || !strings.Contains(got.err, "codec") {
		t.Errorf("not encrypted: %+v", got)
	}
	if got := s.run(t, "", "apply", "square", "12", "--encrypt"); got.code != cli.ExitUsage || !strings.Contains(got.err, "--keyring") {
		t.Errorf("without keys: %+v", got)
	}
}

// monitored is a page of a monitor process.
func (s site) monitored(t *testing.T, path string, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(bounded(t))
	defer stop()
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "distpool"), append([]string{"monitor", "--redis", s.url, "--addr", "127.0.0.1:0", "--json"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = cmd.Wait() // after what is below has been read
	}()
	var line struct{ URL string }
	if err := json.NewDecoder(out).Decode(&line); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, line.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
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
	if got.code != cli.ExitOK || got.out != "144\n" || !strings.Contains(got.err, "chmod 600 "+keys) {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(log.String(), "chmod 600 "+keys) {
		t.Errorf("the worker does not warn:\n%s", log)
	}
	if got := s.run(t, "", "apply", "square", "12", "--keyring", keys+".gone"); got.code != cli.ExitUsage || !strings.Contains(got.err, "no such file") {
		t.Errorf("no file: %+v", got)
	}
}
