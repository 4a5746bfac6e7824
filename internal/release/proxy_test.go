package release

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const (
	root = "../.."
	path = "github.com/distpool/distpool"
	// version is one that no release has.
	version = "v0.0.1-test"
	// envProxy is set where the tests must run. They download modules.
	envProxy = "DISTPOOL_MODULE_PROXY"
)

// workDir holds everything that the tests write. TestMain removes it.
var workDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "distpool-release-")
		if err != nil {
			panic(err)
		}
		workDir = dir
		defer os.RemoveAll(dir)
		return m.Run()
	}())
}

// released is the environment of a user: the module proxy there has a release of the
// current work tree, and the user's module cache is empty.
func released(t *testing.T) []string {
	t.Helper()
	if os.Getenv(envProxy) != "1" {
		t.Skipf("it needs a module proxy; make test-modules runs it, which sets %s=1", envProxy)
	}
	env, err := publish()
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// publish releases a copy of the work tree with scripts/release.sh, and makes a module
// proxy of its tags.
var publish = sync.OnceValues(func() ([]string, error) {
	repo := filepath.Join(workDir, "repo")
	if err := copyTree(repo); err != nil {
		return nil, err
	}
	for _, command := range [][]string{
		{"git", "init", "-q"},
		{"git", "config", "user.name", "test"},
		{"git", "config", "user.email", "test@localhost"},
		{"git", "add", "-A"},
		{"git", "commit", "-q", "-m", "The work tree"},
		{"./scripts/release.sh", version},
	} {
		if _, err := run(repo, nil, command...); err != nil {
			return nil, err
		}
	}
	tags, err := run(repo, nil, "git", "tag", "--list")
	if err != nil {
		return nil, err
	}
	proxy := filepath.Join(workDir, "proxy")
	for tag := range strings.FieldsSeq(tags) {
		if err := publishTag(proxy, repo, tag); err != nil {
			return nil, err
		}
	}
	text, err := run(root, nil, "go", "env", "-json", "GOPROXY", "GOMODCACHE", "GONOSUMDB")
	if err != nil {
		return nil, err
	}
	var ordinary struct{ GOPROXY, GOMODCACHE, GONOSUMDB string }
	if err := json.Unmarshal([]byte(text), &ordinary); err != nil {
		return nil, err
	}
	return append(os.Environ(),
		// What the machine has downloaded before comes from there.
		"GOPROXY=file://"+proxy+",file://"+filepath.ToSlash(filepath.Join(ordinary.GOMODCACHE, "cache", "download"))+","+ordinary.GOPROXY,
		"GONOSUMDB="+strings.Trim(path+","+ordinary.GONOSUMDB, ","),
		"GONOPROXY=none", "GOPRIVATE=", "GOWORK=off",
		"GOMODCACHE="+filepath.Join(workDir, "modcache"),
		// The build cache then serves every run, whatever the folder is.
		"GOFLAGS=-modcacherw -trimpath -buildvcs=false",
		"GOBIN="+filepath.Join(workDir, "bin"),
	), nil
})

// copyTree copies what is, or could be, committed.
func copyTree(to string) error {
	list, err := run(root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.Trim(list, "\x00"), "\x00") {
		from := filepath.Join(root, name)
		info, err := os.Stat(from)
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		file := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// publishTag writes the files that a module proxy serves for a tag: DIR/VERSION, or
// VERSION for the root's module.
func publishTag(proxy, repo, tag string) error {
	dir := strings.TrimSuffix(strings.TrimSuffix(tag, version), "/")
	m := module.Version{Path: strings.TrimSuffix(path+"/"+dir, "/"), Version: version}
	mod, err := run(repo, nil, "git", "show", tag+":"+filepath.ToSlash(filepath.Join(dir, "go.mod")))
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := zip.CreateFromVCS(&archive, m, repo, tag, dir); err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Now().UTC().Format(time.RFC3339)})
	if err != nil {
		return err
	}
	folder := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": info,
		version + ".mod":  []byte(mod + "\n"),
		version + ".zip":  archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// failure is a command that failed, with what it printed.
type failure struct {
	command []string
	err     error
	printed string
}

func (f *failure) Error() string {
	return strings.Join(f.command, " ") + ": " + f.err.Error() + "\n" + f.printed
}

// run runs a command in a folder, and returns its standard output without spaces
// around it.
func run(dir string, env []string, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", &failure{command, err, out.String() + errs.String()}
	}
	return strings.TrimSpace(out.String()), nil
}
