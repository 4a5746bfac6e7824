// Package examples_test keeps the documentation in step with the code.
package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the documents that are checked, relative to the module's root.
var pages = []string{"README.md", "docs/design.md", "docs/connections.md"}

const root = ".."

// block is a fenced block of Go code, and what the comment before it says that
// it is a copy of.
type block struct {
	line   int
	source string // "" when no comment names one
	code   string
}

// TestGoBlocksAreCopiesOfExamples: what a reader copies from a page compiles,
// because it is a file, or the named region of a file, under examples/. A block
// is marked by the comment
//
//	<!-- examples/NAME/main.go -->         or
//	<!-- examples/NAME/main.go#region -->
//
// on the line before it; a region stands between the lines "// region:NAME" and
// "// endregion:NAME".
func TestGoBlocksAreCopiesOfExamples(t *testing.T) {
	for _, page := range pages {
		blocks := goBlocks(t, read(t, page))
		if page == "README.md" && len(blocks) == 0 {
			t.Errorf("%s: no Go code in it; it must show a whole program", page)
		}
		for _, b := range blocks {
			if b.source == "" {
				t.Errorf("%s:%d: Go code without a comment <!-- examples/... --> on the line before it", page, b.line)
				continue
			}
			if want := source(t, b.source); b.code != want {
				t.Errorf("%s:%d: the code is not that of %s; copy it again. It should be:\n%s", page, b.line, b.source, want)
			}
		}
	}
}

func goBlocks(t *testing.T, text string) []block {
	t.Helper()
	var blocks []block
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) != "```go" {
			continue
		}
		b := block{line: i + 1}
		if i > 0 {
			if m := marker.FindStringSubmatch(lines[i-1]); m != nil {
				b.source = m[1]
			}
		}
		for i++; i < len(lines) && strings.TrimRight(lines[i], "\n") != "```"; i++ {
			b.code += lines[i]
		}
		if i == len(lines) {
			t.Fatalf("the Go block of line %d does not end", b.line)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

var marker = regexp.MustCompile(`^<!-- (examples/\S+\.go(?:#\S+)?) -->\n$`)

func source(t *testing.T, name string) string {
	t.Helper()
	file, region, cut := strings.Cut(name, "#")
	text := read(t, file)
	if !cut {
		return text
	}
	_, rest, ok := strings.Cut(text, "// region:"+region+"\n")
	code, _, closed := strings.Cut(rest, "// endregion:"+region+"\n")
	if !ok || !closed {
		t.Fatalf("%s has no region %q", file, region)
	}
	return strings.Trim(code, "\n") + "\n" // gofmt wants a blank line after the marker
}

// TestLinksLeadSomewhere: a relative link of a page names a file that exists.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(page), target)); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", page, err)
			}
		}
	}
}

// TestMakeTargetsExist: what the README tells a reader to make can be made.
func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	uses := regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(uses) == 0 {
		t.Error("README.md names no make target; it must name demo and test")
	}
	for _, m := range uses {
		if !strings.Contains(makefile, "\n"+m[1]+":") {
			t.Errorf("README.md says make %s, which the Makefile does not have", m[1])
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
