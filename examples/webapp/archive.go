package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/distpool/distpool/examples/webapp/inspect"
)

// The limits of one upload. What is in an archive counts unpacked: some kilobytes
// can claim to be terabytes.
const (
	maxUpload  = 32 << 20 // bytes, as sent
	maxFiles   = 500
	maxFile    = 4 << 20  // bytes of one file
	maxTotal   = 48 << 20 // bytes of all files
	maxName    = 160      // characters of a name; longer ones are cut
	maxEntries = 5000     // of an archive, folders and what is skipped included
)

// errUpload is what is wrong with an upload, for the person who sent it.
type errUpload string

// Error says it.
func (e errUpload) Error() string { return string(e) }

func refuse(format string, v ...any) error { return errUpload(fmt.Sprintf(format, v...)) }

// files collects what is in an upload, within the limits.
type files struct {
	list  []inspect.File
	total int
}

// add takes in one uploaded file: the files in it, if it is an archive.
func (f *files) add(name string, data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")), bytes.HasPrefix(data, []byte("PK\x05\x06")):
		return f.zip(data)
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return f.tarGzip(data)
	default:
		return f.read(path.Base(name), bytes.NewReader(data))
	}
}

func (f *files) zip(data []byte) error {
	// Counted before it is read, since reading makes an object for each entry.
	if bytes.Count(data, []byte("PK\x01\x02")) > maxEntries {
		return refuse("the archive has more than %d entries", maxEntries)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // nothing is written to any path
		return refuse("the archive cannot be read: %v", err)
	}
	for _, entry := range z.File {
		if skip(entry.Name) || !entry.Mode().IsRegular() {
			continue
		}
		if err := f.entry(entry); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) entry(entry *zip.File) error {
	r, err := entry.Open()
	if err != nil {
		return refuse("%s: it cannot be unpacked: %v", clean(entry.Name), err)
	}
	defer r.Close()
	return f.read(entry.Name, r)
}

func (f *files) tarGzip(data []byte) error {
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return refuse("the archive cannot be read: %v", err)
	}
	// What is skipped has to be unpacked too, so all of it is bounded.
	archive := tar.NewReader(io.LimitReader(unzipped, 2*maxTotal))
	for range maxEntries {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, tar.ErrInsecurePath):
			return refuse("the archive cannot be read (only .zip and .tar.gz can): %v", err)
		case skip(header.Name) || header.Typeflag != tar.TypeReg:
			continue
		}
		if err := f.read(header.Name, archive); err != nil {
			return err
		}
	}
	return refuse("the archive has more than %d entries", maxEntries)
}

// read takes in one file. What its header says of its size is not believed.
func (f *files) read(name string, r io.Reader) error {
	name = clean(name)
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return refuse("%s: it cannot be unpacked: %v", name, err)
	case len(data) > maxFile:
		return refuse("%s: it has more than %d MiB, the limit for one file", name, maxFile>>20)
	case len(f.list) == maxFiles:
		return refuse("there are more than %d files", maxFiles)
	case f.total+len(data) > maxTotal:
		return refuse("the files have more than %d MiB together", maxTotal>>20)
	}
	f.total += len(data)
	f.list = append(f.list, inspect.File{Name: name, Data: data})
	return nil
}

// skip reports whether an entry is a folder, or what systems put into archives
// without being asked.
func skip(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(name, "/") || strings.HasPrefix(name, "__MACOSX/") || strings.HasPrefix(base, ".")
}

func clean(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if r := []rune(name); len(r) > maxName {
		name = string(r[:maxName-1]) + "…"
	}
	if name == "" || name == "." || name == "/" {
		return "unnamed"
	}
	return name
}
