package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// visitor is a browser without a window. It does not follow redirects.
var visitor = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// upload sends files by the form, and returns the answer's code, the job's path
// and the page.
func upload(t *testing.T, url, form, name string, data []byte) (code int, path, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("form", form); err != nil {
		t.Fatal(err)
	}
	part, err := w.CreateFormFile("files", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return request(t, http.MethodPost, url+"/jobs", w.FormDataContentType(), &b)
}

func request(t *testing.T, method, url, contentType string, body io.Reader, header ...string) (code int, location, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := visitor.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(page)
}

func get(t *testing.T, url string) (code int, page string) {
	t.Helper()
	code, _, page = request(t, http.MethodGet, url, "", nil)
	return code, page
}

// seen is what a stream has told by now.
type seen struct {
	status statusEvent
	rows   map[int]string
	ended  bool
}

// follow reads the job's stream until stop says so, the stream ends or breaks.
func follow(t *testing.T, url string, stop func(seen) bool) seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := visitor.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("the stream is answered with %s, %s", resp.Status, got)
	}
	s := seen{rows: map[int]string{}}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	name := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "event":
			name = value
		case field == "data" && name == "row":
			var row rowEvent
			decode(t, value, &row)
			s.rows[row.Call] = row.HTML
		case field == "data" && name == "status":
			decode(t, value, &s.status)
		case field == "data" && name == "end":
			s.ended = true
		}
		if field == "data" && stop(s) {
			return s
		}
	}
	if ctx.Err() != nil {
		t.Fatalf("the stream did not get there within %v: %+v", patience, s.status)
	}
	return s
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(err)
	}
}

func never(seen) bool { return false }
