package release

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Limits of go list -m all in a user's module, which counts that module, distpool and
// everything that asynq, go-redis and, for pooltest, miniredis require.
const (
	mostModules             = 30
	mostModulesWithPooltest = 32
)

// user makes a module that imports the packages, in the versions of the go.mod lines
// that are given, tidies and builds it, and returns its folder.
func user(t *testing.T, env []string, requires []string, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	mod := "module example.com/user\n\ngo 1.26.0\n\nrequire " + path + " " + version + "\n"
	for _, r := range requires {
		mod += "require " + r + "\n"
	}
	var program strings.Builder
	program.WriteString("package main\n\nimport (\n")
	for _, p := range packages {
		fmt.Fprintf(&program, "\t_ %q\n", p)
	}
	program.WriteString(")\n\nfunc main() {}\n")
	for name, text := range map[string]string{"go.mod": mod, "main.go": program.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range [][]string{{"go", "mod", "tidy"}, {"go", "build", "-o", os.DevNull, "."}} {
		if _, err := run(dir, env, command...); err != nil {
			t.Fatalf("a module that imports %q: %v", packages, err)
		}
	}
	return dir
}

func TestProgramsInstallAtATaggedVersion(t *testing.T) {
	env := released(t)
	for program, check := range map[string]struct{ args, want string }{
		"distpool": {"version", version},
		"worker":   {"-h", "-concurrency"},
	} {
		t.Run(program, func(t *testing.T) {
			if _, err := run(workDir, env, "go", "install", path+"/cmd/"+program+"@"+version); err != nil {
				t.Fatal(err)
			}
			out, err := run(workDir, nil, "sh", "-c", "exec bin/"+program+" "+check.args+" 2>&1")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out, check.want) {
				t.Errorf("%s %s printed\n%s\nwant %q in it", program, check.args, out, check.want)
			}
		})
	}
}

func TestUserKeepsItsVersionOfKubernetes(t *testing.T) {
	env := released(t)
	dir := user(t, env, []string{"k8s.io/client-go v0.33.0"}, path+"/producer", "k8s.io/client-go/kubernetes")
	for _, m := range []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery"} {
		if got, err := run(dir, env, "go", "list", "-m", m); err != nil || got != m+" v0.33.0" {
			t.Errorf("the user asked for client-go v0.33.0, and got %q, %v", got, err)
		}
	}
}

// What only our tests and programs need, and what metrics and traces need, is not for
// the users of other packages.
func TestUserInheritsFewModules(t *testing.T) {
	env := released(t)
	library := []string{path + "/producer", path + "/worker", path + "/tasks", path + "/results"}
	tests := map[string]struct {
		packages []string
		most     int
	}{
		"all five": {append(slices.Clone(library), path+"/pooltest"), mostModulesWithPooltest},
	}
	for _, p := range library {
		tests[strings.TrimPrefix(p, path+"/")] = struct {
			packages []string
			most     int
		}{[]string{p}, mostModules}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := user(t, env, nil, test.packages...)
			out, err := run(dir, env, "go", "list", "-m", "all")
			if err != nil {
				t.Fatal(err)
			}
			modules := strings.Split(out, "\n")
			t.Logf("%d modules", len(modules))
			if len(modules) > test.most || !slices.Contains(modules, path+" "+version) {
				t.Errorf("go list -m all has %d modules, want at most %d and %s among them:\n%s", len(modules), test.most, path, out)
			}
			for _, m := range modules {
				for _, ours := range []string{
					"k8s.io/", "sigs.k8s.io/", "github.com/compose-spec/", "github.com/chromedp/", "github.com/Shopify/", "github.com/spf13/cobra",
					"github.com/schollz/", "github.com/hibiken/asynqmon", "github.com/prometheus/", "go.opentelemetry.io/", path + "/",
				} {
					if strings.HasPrefix(m, ours) {
						t.Errorf("the user gets %s", m)
					}
				}
			}
		})
	}
}

func TestMetricsAndTracesAreReleased(t *testing.T) {
	user(t, released(t), nil, path+"/producer", path+"/metrics", path+"/traces", path+"/health", path+"/observe", path+"/secure")
}

// A module outside go.work would be neither tested nor linted.
func TestWorkspaceHasEveryModule(t *testing.T) {
	var want []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "go.mod" {
			dir, _ := filepath.Rel(root, filepath.Dir(file))
			want = append(want, filepath.ToSlash(dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := run(root, nil, "./scripts/modules.sh", "list")
	if err != nil {
		t.Fatal(err)
	}
	if list := strings.Fields(got); !slices.Equal(slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(want))) {
		t.Errorf("go.work has %q; there are %q", list, want)
	}
}
