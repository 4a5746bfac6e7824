package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// corpus is the real input of the demo.
type corpus struct {
	paths []string
	what  string // for people
}

// findCorpus finds every .go file of the Go installation's source tree. Where
// there is no Go, or a Go without its source, the files of the module around the
// current folder take their place.
func findCorpus(ctx context.Context) (corpus, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err == nil {
		c, err := goFiles(filepath.Join(strings.TrimSpace(string(out)), "src"), "")
		if err == nil {
			return c, nil
		}
	}
	if ctx.Err() != nil {
		return corpus{}, context.Cause(ctx)
	}
	root, err := moduleRoot()
	if err != nil {
		return corpus{}, fmt.Errorf("no Go installation to count the files of, and %w; install Go, or run the demo inside a Go module", err)
	}
	return goFiles(root, " (found no Go installation with its source, so the current module's files)")
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in the current folder or above it")
		}
		dir = parent
	}
}

// goFiles lists the .go files under root.
func goFiles(root, note string) (corpus, error) {
	// A folder that is a symbolic link would not be walked.
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return corpus{}, err
	}
	var c corpus
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.HasSuffix(path, ".go") {
			c.paths = append(c.paths, path)
		}
		return err
	})
	if err == nil && len(c.paths) == 0 {
		err = fmt.Errorf("no .go file under %s", root)
	}
	c.what = fmt.Sprintf("%d .go files under %s%s", len(c.paths), root, note)
	return c, err
}
