package deploytest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// modulePath begins the import path of each package of the root module.
const modulePath = "github.com/distpool/distpool/"

// docs/design.md has three tables of packages: one in reading order, with what each of them
// imports of that table, one of small packages that all may import, and one of the packages
// of programs.
func TestDesignListsPackagesAndTheirImports(t *testing.T) {
	listed, imports, small := designTables(t)
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...", "./metrics", "./traces", "./internal/cli/...", "./internal/monitor/...", "./internal/chaos/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name := strings.TrimPrefix(words[0], modulePath)
		known[name] = true
		at := slices.Index(listed, name)
		if at < 0 {
			if !small[name] {
				t.Errorf("docs/design.md does not list package %s", name)
			}
			continue
		}
		var want []string
		for _, path := range words[1:] {
			short, isOurs := strings.CutPrefix(path, modulePath)
			if !isOurs || small[short] {
				continue
			}
			if !slices.Contains(listed[:at], short) {
				t.Errorf("package %s imports %s, which does not stand above it in docs/design.md", name, short)
			}
			want = append(want, strings.TrimPrefix(short, "internal/"))
		}
		slices.Sort(want)
		if got := imports[name]; !slices.Equal(got, want) {
			t.Errorf("docs/design.md says that package %s imports %q, go list says %q", name, got, want)
		}
	}
	for _, name := range append(slices.Sorted(maps.Keys(small)), listed...) {
		if !known[name] {
			t.Errorf("docs/design.md lists package %s, which there is not", name)
		}
	}
}

// designTables reads the tables: the packages in their order, the imports of each, and the
// packages of the other tables.
func designTables(t *testing.T) (listed []string, imports map[string][]string, small map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/design.md"))
	if err != nil {
		t.Fatal(err)
	}
	imports, small = map[string][]string{}, map[string]bool{}
	columns := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			columns = 0
		case strings.HasPrefix(line, "| package |"):
			columns = len(cells) - 2
		case columns == 3 && quoted(cells[1]) != nil:
			name := quoted(cells[1])[0]
			listed = append(listed, name)
			imports[name] = quoted(cells[3])
			slices.Sort(imports[name])
		case columns == 2:
			for _, name := range quoted(cells[1]) {
				small[name] = true
			}
		}
	}
	if len(listed) == 0 || len(small) == 0 {
		t.Fatalf("docs/design.md has %d packages in its first table and %d in the others", len(listed), len(small))
	}
	return listed, imports, small
}

// quoted are the words between backquotes.
func quoted(cell string) []string {
	var words []string
	for i, word := range strings.Split(cell, "`") {
		if i%2 == 1 {
			words = append(words, word)
		}
	}
	return words
}
