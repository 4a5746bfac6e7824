package deploytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// bin is where programs builds.
var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "deploytest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bin = dir
	defer func() { _ = os.RemoveAll(dir) }()
	m.Run()
}

var build = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", bin+"/", "./cmd/...")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/...: %w\n%s", err, out)
	}
	return nil
})

// program is the file of a program under cmd, as make build makes it for the image.
func program(t *testing.T, name string) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(bin, name)
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("the image has no program %s: %v", name, err)
	}
	return file
}

// accepted sees to it that a program of the image takes a command line: each flag
// exists, and its value is one. With a flag for help behind them, they are all read
// and nothing is done.
func accepted(t *testing.T, where string, command []string) {
	t.Helper()
	out, err := exec.Command(program(t, command[0]), append(slices.Clone(command[1:]), "-h")...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %q is refused: %v\n%s", where, command, err, out)
	}
}

// accepted would be worth little if it took anything.
func TestWrongCommandLinesAreNotAccepted(t *testing.T) {
	for _, command := range [][]string{
		{"worker", "-concurrency", "four"},
		{"worker", "-graces", "30s"},
		{"worker", "-http", "9090"},
		{"distpool", "monitor", "--adr", "0.0.0.0:8500"},
		{"distpool", "monitors"},
	} {
		if err := exec.Command(program(t, command[0]), append(slices.Clone(command[1:]), "-h")...).Run(); err == nil {
			t.Errorf("%q is accepted", command)
		}
	}
}

// flagValue returns the word after the flag in a command, or "".
func flagValue(command []string, flag string) string {
	if i := slices.Index(command, flag); i >= 0 && i+1 < len(command) {
		return command[i+1]
	}
	return ""
}

// grace is how long a worker with this command lets its calls run on.
func grace(t *testing.T, where string, command []string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(flagValue(command, "-grace"))
	if err != nil {
		t.Fatalf("%s: the command %q has no -grace: %v", where, command, err)
	}
	return d
}

// deployed is a program that runs with the command line of a deployment.
type deployed struct {
	url string // http://127.0.0.1:port
}

var listening = regexp.MustCompile(`(?:http://|address=)(127\.0\.0\.1:\d+)`)

// deploy runs a command of a deployment against an embedded Redis, as it is but for
// the address, which is one of this machine, and the file of the token.
func deploy(t *testing.T, command []string) deployed {
	t.Helper()
	command = slices.Clone(command)
	for i := range command {
		if i == 0 {
			continue
		}
		switch command[i-1] {
		case "-http", "--addr":
			command[i] = "127.0.0.1:0"
		case "--token-file":
			command[i] = filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(command[i], []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program(t, command[0]), command[1:]...)
	cmd.Env = append(os.Environ(), "REDIS_URL=redis://"+miniredis.RunT(t).Addr())
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	out := &buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%q ends with exit code %d:\n%s", command, code, out)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if m := listening.FindStringSubmatch(out.String()); m != nil {
			return deployed{"http://" + m[1]}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q does not listen:\n%s", command, out)
		}
	}
}

// token is what deploy puts into the file that a command names.
const token = "sixteen characters or more"

// probed wants the path to be answered with 200 by the deployed program, as the
// health check distpool probe sees it.
func (d deployed) probed(t *testing.T, where, path string) {
	t.Helper()
	var out []byte
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if out, err = exec.Command(program(t, "distpool"), "probe", d.url+path).CombinedOutput(); err == nil {
			return
		}
	}
	t.Errorf("%s: %s is not well after a minute: %v: %s", where, path, err, out)
}

// buffer is a buffer that is read while it is written.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Clone(b.b.String())
}

// serves wants a page to have a line, sooner or later, for those who show the token
// if there is one.
func (d deployed) serves(t *testing.T, path, token, line string) {
	t.Helper()
	var body string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		body = d.get(t, path, token)
		if slices.Contains(strings.Split(body, "\n"), line) {
			return
		}
	}
	t.Errorf("%s has no line %q: %.2000s", path, line, body)
}

func (d deployed) get(t *testing.T, path, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s, %v: %.500s", path, resp.Status, err, body)
	}
	return string(body)
}
