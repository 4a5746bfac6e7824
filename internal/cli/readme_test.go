package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/cli/clitest"
)

// walkMark stands before the commands of README.md that this test runs.
const walkMark = "<!-- walk: run by a test -->\n```sh\n"

// What README.md tells a newcomer to type does what it says there: a job is watched
// and canceled, and the call that failed runs again.
func TestTheFiveMinutesOfTheReadme(t *testing.T) {
	s := newSite(t)
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), walkMark)
	script, _, ended := strings.Cut(rest, "```\n")
	if !found || !ended {
		t.Fatalf("README.md has no commands after %q", walkMark)
	}
	s.worker(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README.md"), readme, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(clitest.Bounded(t), "bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "REDIS_URL="+s.url, "DISTPOOL_KEYRING=", "PATH="+s.dir+":"+os.Getenv("PATH"))
	var out, errs clitest.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	for _, want := range []string{
		"canceled: canceled by an operator", " of 500 are over", `"kind":"error"`, "late.txt: no such file or directory",
		"1\t{\"lines\":1,\"words\":6,\"bytes\":19}\n", "JOB ", "WORKER ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("standard output has no %q", want)
		}
	}
	for _, want := range []string{"sleep: running, ", "the time of --timeout is over while job ", " runs 1 failed call of job "} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("standard error has no %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", out.String(), errs.String())
	}
}
