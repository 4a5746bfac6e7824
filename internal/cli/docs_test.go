package cli_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/cli"
)

var update = flag.Bool("update", false, "write docs/cli.md")

func TestTheDocumentationIsThatOfTheCommands(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "cli.md")
	want := cli.Docs()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/cli.md is out of date; make docs writes it")
	}
	for _, name := range cli.CommandNames() {
		section := string(want)[strings.Index(string(want), "\n## distpool "+name+"\n")+1:]
		section, _, _ = strings.Cut(section, "\n## ")
		if name != "help" && !strings.Contains(section, "```sh\n") {
			t.Errorf("%s has no example", name)
		}
		if !strings.Contains(string(want), "\n## distpool "+name+"\n") {
			t.Errorf("docs/cli.md has nothing about %s", name)
		}
	}
}
