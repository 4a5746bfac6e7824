// Package page renders the monitor's pages: their templates and the files that these
// refer to, plots (plot.go), numbers and times for people (words.go).
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
)

//go:embed assets templates
var files embed.FS

// Set is the templates and what they refer to.
type Set struct {
	byName map[string]*template.Template
	assets map[string][]byte
	stamp  string // changes with the assets
}

// pageNames are the templates beside layout.html.
var pageNames = []string{"jobs", "job", "workers", "throughput", "login", "sorry"}

// Load parses the templates.
func Load() (*Set, error) {
	p := &Set{byName: map[string]*template.Template{}, assets: map[string][]byte{}}
	sum := sha256.New()
	entries, err := fs.ReadDir(files, "assets")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		data, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, err
		}
		p.assets[e.Name()] = data
		_, _ = sum.Write(data)
	}
	p.stamp = hex.EncodeToString(sum.Sum(nil))[:12]
	for _, name := range pageNames {
		t, err := template.New(name).Funcs(helpers).ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", name, err)
		}
		p.byName[name] = t
	}
	return p, nil
}

// Asset serves a file that pages refer to.
func (p *Set) Asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	data, ok := p.assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "public, max-age=86400") // their addresses carry a stamp
	_, _ = w.Write(data)
}

// Page is what the layout shows.
type Page struct {
	Title   string
	Section string // which of the sections it belongs to
	Login   bool   // it is the form, and has no navigation
	Live    string // the page to ask for events of; "" for none
	At      int64  // when what it shows was read, Unix ms; 0: it shows nothing yet
	Logout  bool
	Write   bool
	Stamp   string // of the assets; Layout sets it
	Version string
	Body    any
}

// Layout renders a whole page by its name.
func (p *Set) Layout(name string, data Page) ([]byte, error) {
	data.Stamp = p.stamp
	return p.render(name, "layout", data)
}

// Live renders the part of a page that is kept up to date.
func (p *Set) Live(name string, data Page) ([]byte, error) { return p.render(name, "live", data) }

func (p *Set) render(name, part string, data Page) ([]byte, error) {
	var b bytes.Buffer
	err := p.byName[name].ExecuteTemplate(&b, part, data)
	return b.Bytes(), err
}
