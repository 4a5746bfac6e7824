package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// zipped makes an archive of pairs of a name and a text.
func zipped(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for i := 0; i < len(pairs); i += 2 {
		w, err := z.Create(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	gz, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(gz)
	for i := 0; i < len(pairs); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: pairs[i], Mode: 0o600, Size: int64(len(pairs[i+1])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnUploadIsTakenApart(t *testing.T) {
	pairs := []string{"a.txt", "one", "folder/", "", "folder/b.txt", "two", "__MACOSX/a.txt", "x", ".DS_Store", "x", "../../etc/c.txt", "three"}
	for name, data := range map[string][]byte{"x.zip": zipped(t, pairs...), "x.tar.gz": tarred(t, append(pairs[:2:2], pairs[4:]...)...)} {
		var f files
		if err := f.add(name, data); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, file := range f.list {
			got = append(got, file.Name+"="+string(file.Data))
		}
		if want := "a.txt=one folder/b.txt=two ../../etc/c.txt=three"; strings.Join(got, " ") != want {
			t.Errorf("%s: it has %q, want %q", name, got, want)
		}
	}
	var single files
	if err := single.add("note.txt", []byte("hello")); err != nil || len(single.list) != 1 || single.list[0].Name != "note.txt" {
		t.Errorf("a single file: %v, %v", single.list, err)
	}
}

func TestUploadsBeyondTheLimitsAreRefused(t *testing.T) {
	many := func(n int, text string) (pairs []string) {
		for i := range n {
			pairs = append(pairs, fmt.Sprintf("%d.txt", i), text)
		}
		return pairs
	}
	bomb := strings.Repeat("\x00", maxFile+1)
	quarter := strings.Repeat("\x00", maxFile)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"a file that unpacks to more than the limit", zipped(t, "bomb", bomb), "more than 4 MiB"},
		{"the same in tar", tarred(t, "bomb", bomb), "more than 4 MiB"},
		{"files that are too large together", zipped(t, many(13, quarter)...), "48 MiB together"},
		{"too many files", zipped(t, many(maxFiles+1, "x")...), "more than 500 files"},
		{"too many entries", zipped(t, many(maxEntries+1, "")...), "more than 5000 entries"},
		{"a tar that hides a bomb in what is skipped", tarred(t, "a", "x", ".skipped", strings.Repeat("\x00", 2*maxTotal)), "cannot be read"},
		{"a zip that is cut off", zipped(t, "a", "x")[:40], "cannot be read"},
		{"a gzip that is none", []byte("\x1f\x8bnot at all"), "cannot be read"},
	} {
		var f files
		err := f.add("upload", c.data)
		var refused errUpload
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestTheSampleIsAnArchiveThatCanBeUploaded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sample.zip")
	if err := writeSample(name); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var f files
	if err := f.add("sample.zip", data); err != nil || len(f.list) != len(sampleFiles()) {
		t.Fatalf("%d files of %d, %v", len(f.list), len(sampleFiles()), err)
	}
	for i, file := range sampleFiles() {
		if f.list[i].Name != file.Name || !bytes.Equal(f.list[i].Data, file.Data) {
			t.Errorf("file %d is %s, or not what it was", i, f.list[i].Name)
		}
	}
}
