// Package inspect holds the task of the web application: what there is to know
// about one file. The web process and the workers both link it.
package inspect

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/distpool/distpool/tasks"
)

// File is the argument of a call.
type File struct {
	Name string
	Data []byte
}

// Report is the value of a call: Text or Image is set. Name is the file's own, so
// that an outcome says what it is about wherever it is read.
type Report struct {
	Name  string
	Bytes int
	Text  *Text  `json:",omitempty"`
	Image *Image `json:",omitempty"`
}

// Task reports on one file. A file that takes longer than CallTime fails, and the
// others go on.
var Task = tasks.Define("webapp.inspect", file, tasks.CallTimeout(CallTime))

// CallTime is how long the work on one file may take.
const CallTime = 2 * time.Minute

var errUnknown = errors.New("neither a text (UTF-8) nor an image (PNG, JPEG, GIF)")

func file(ctx context.Context, f File) (Report, error) {
	r := Report{Name: f.Name, Bytes: len(f.Data)}
	var err error
	// What a file is, its content says: names lie.
	switch kind := http.DetectContentType(f.Data); {
	case kind == "image/png" || kind == "image/jpeg" || kind == "image/gif":
		r.Image, err = readImage(ctx, f.Data)
	case utf8.Valid(f.Data) && !strings.Contains(string(f.Data), "\x00"):
		r.Text, err = readText(ctx, string(f.Data))
	default:
		err = errUnknown
	}
	return r, err
}
